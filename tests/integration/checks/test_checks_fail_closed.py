"""Nothing is clean when a part is away, old, killed or lying."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from broch_airlock.checks.antivirus import ClamdAntivirus
from broch_airlock.checks.clamd_config import eicar
from broch_airlock.checks.model import FileUnderCheck, Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.sandbox import BubblewrapSandbox
from broch_airlock.checks.supervisor import check_files, overall
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable

GOOD = {"a.txt": b"words\n"}


def only(answers) -> Verdict:
    return overall(answers["a.txt"])


def malware(answers):
    return next(one for one in answers["a.txt"] if one.check == "malware")


def test_the_positive_twin_is_clean(lab):
    assert only(lab.check(GOOD)) is Verdict.CLEAN


@pytest.mark.parametrize(
    "made", [datetime.now(UTC) - timedelta(days=3), None, datetime.now(UTC) + timedelta(days=9)]
)
def test_old_undated_or_future_signatures_make_everything_unscannable(lab, made):
    antivirus = ClamdAntivirus(lab.setup.socket, signatures_at=lambda: made)
    answers = lab.check(GOOD, antivirus=antivirus)
    assert malware(answers).verdict is Verdict.UNSCANNABLE
    assert malware(answers).findings[0].message
    health = lab.run(lambda: antivirus.health(timedelta(days=2)))
    assert not health.ok


def test_without_clamd_everything_is_an_error_and_health_says_so(lab):
    antivirus = ClamdAntivirus(lab.folder / "nobody.sock", signatures_at=lambda: datetime.now(UTC))
    assert malware(lab.check(GOOD, antivirus=antivirus)).verdict is Verdict.ERROR
    assert lab.run(lambda: antivirus.health(timedelta(days=2))).verdict is Verdict.ERROR


class KilledInTheMiddle:
    """Passes on to a real clamd, and kills it once it has taken some bytes of the original."""

    def __init__(self, inner: ClamdAntivirus, pid: int, after: int) -> None:
        self.inner = inner
        self.pid = pid
        self.after = after
        self.sent = 0
        self.killed_at = 0
        """Bytes that had been sent when it was killed; 0 when it never was."""

    def health(self, longest_age):
        return self.inner.health(longest_age)

    def scan(self, **limits):
        scan = self.inner.scan(**limits)
        send = scan.send

        def counted(piece) -> None:
            send(piece)
            self.sent += len(piece)
            if self.sent >= self.after and not self.killed_at:
                self.killed_at = self.sent
                os.kill(self.pid, signal.SIGKILL)

        scan.send = counted
        return scan


@pytest.mark.parametrize("megabytes", [0, 5], ids=["not killed", "killed"])
def test_clamd_killed_during_a_scan_is_an_error(own_lab, megabytes):
    size = 20 << 20

    def action():
        antivirus = KilledInTheMiddle(
            own_lab.setup.antivirus(), own_lab.clamd_pid, megabytes << 20 or 1 << 40
        )
        file = own_lab.file("a.txt", lambda path: path.write_bytes(b"words\n" * (size // 6)), "ingress")
        answers = check_files([file], Policy(), antivirus)[0]
        return answers, antivirus.killed_at

    answers, killed_at = own_lab.run(action)
    verdict = malware({"a.txt": answers}).verdict
    assert overall(answers) is (Verdict.ERROR if megabytes else Verdict.CLEAN)
    assert verdict is (Verdict.ERROR if megabytes else Verdict.CLEAN)
    # The kill fell after the first bytes of this file and before its last ones.
    assert (0 < killed_at < size - (1 << 20)) == bool(megabytes)


class NoSandbox:
    def start(self, *_arguments):
        raise SandboxUnavailable(Cause.NO_BUBBLEWRAP, "bubblewrap is not installed.", "Install it.")


class KilledSandbox:
    def start(self, *_arguments):
        process = BubblewrapSandbox().start(*_arguments)
        process.kill()
        return process


class LyingSandbox:
    """Says what it is told to say."""

    def __init__(self, script: str) -> None:
        self.script = script

    def start(self, *_arguments):
        return subprocess.Popen([sys.executable, "-c", self.script], stdout=subprocess.PIPE)


def saying(body: str) -> LyingSandbox:
    clean = [
        {"check": c, "verdict": "clean", "findings": []}
        for c in ("path_hygiene", "content_type", "archive_limits")
    ]
    head = "import sys,struct,json,time\nw=sys.stdout.buffer.write\nh=struct.Struct('!BIII')\n"
    head += f"clean={json.dumps({'checks': clean}).encode()!r}\n"
    head += "def r(k,f,m,p=b''): w(h.pack(ord(k),f,m,len(p))+p)\n"
    return LyingSandbox(head + body)


def test_a_sandbox_that_behaves_is_believed_only_about_itself(lab):
    honest = saying("r('R',0,0,clean); r('Q',0,0)")
    assert only(lab.check(GOOD, sandbox=honest)) is Verdict.CLEAN
    # ... and what it says cannot better the verdict on the original bytes.
    assert only(lab.check({"a.txt": eicar()}, sandbox=honest)) is Verdict.BLOCKED


LIES = {
    "nothing": "pass",
    "text": "w(b'all is well, believe me')",
    "no end": "r('R',0,0,clean)",
    "no report": "r('Q',0,0)",
    "report on another file": "r('R',7,0,clean); r('Q',0,0)",
    "report twice": "r('R',0,0,clean); r('R',0,0,clean); r('Q',0,0)",
    "not json": "r('R',0,0,b'{'); r('Q',0,0)",
    "answers for clamd": "r('R',0,0,clean.replace(b'content_type',b'malware')); r('Q',0,0)",
    "a required check left out": "d=json.loads(clean); d['checks'].pop(); r('R',0,0,json.dumps(d).encode()); r('Q',0,0)",
    "verdict without findings": "r('R',0,0,clean.replace(b'clean',b'flagged',1)); r('Q',0,0)",
    "bytes of no member": "r('D',0,1,b'x'); r('R',0,0,clean); r('Q',0,0)",
    "a member left open": "r('B',0,1,b'x'); r('R',0,0,clean); r('Q',0,0)",
    "too many members": "[(r('B',0,i,b'x'),r('E',0,i)) for i in range(30)]; r('R',0,0,clean); r('Q',0,0)",
    "too many bytes": "r('B',0,1,b'x'); [r('D',0,1,bytes(200000)) for _ in range(100)]; r('E',0,1); r('R',0,0,clean); r('Q',0,0)",
    "an endless record": "w(h.pack(ord('D'),0,1,0xffffffff)); w(bytes(100)); time.sleep(60)",
    "silence": "time.sleep(60)",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_sandbox_that_lies_is_an_error(lab, lie):
    policy = Policy(request_seconds=2, max_members=20, max_expanded_bytes=1 << 20)
    started = time.monotonic()
    assert only(lab.check(GOOD, sandbox=saying(LIES[lie]), policy=policy)) is Verdict.ERROR
    assert time.monotonic() - started < 30, "they sleep for a minute"


@pytest.mark.parametrize("sandbox", [NoSandbox(), KilledSandbox()], ids=["none", "killed"])
def test_without_a_sandbox_everything_is_an_error(lab, sandbox):
    assert only(lab.check(GOOD, sandbox=sandbox)) is Verdict.ERROR


@pytest.mark.parametrize("sandbox", [NoSandbox(), KilledSandbox()], ids=["none", "killed"])
def test_malware_itself_is_not_clean_when_the_sandbox_said_nothing(lab, sandbox):
    # The members were never sent to clamd: `clean` would speak of the wrapping alone.
    assert malware(lab.check(GOOD, sandbox=sandbox)).verdict is Verdict.ERROR
    assert malware(lab.check(GOOD)).verdict is Verdict.CLEAN


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try to make a sandbox as root")
def test_as_root_there_is_no_sandbox_and_nothing_is_clean(lab):
    taken = lab.run(lambda: [lab.file("a.txt", b"words\n", "ingress")])
    assert overall(check_files(taken, Policy(), lab.setup.antivirus())[0]) is Verdict.ERROR


def test_bytes_that_changed_since_intake_are_an_error(lab):
    def action():
        file = lab.file("a.txt", b"words\n", "ingress")
        other = FileUnderCheck(file.name, file.size, "0" * 64, file.path)
        return check_files([file, other], Policy(), lab.setup.antivirus())

    same, changed = lab.run(action)
    assert overall(same) is Verdict.CLEAN
    assert overall(changed) is Verdict.ERROR


def test_a_link_in_place_of_a_file_is_an_error(lab):
    def action():
        file = lab.file("a.txt", b"words\n", "ingress")
        link = file.path.with_name("link")
        link.symlink_to(file.path)
        return check_files(
            [FileUnderCheck("a.txt", file.size, file.sha256, link)], Policy(), lab.setup.antivirus()
        )

    assert overall(lab.run(action)[0]) is Verdict.ERROR
