"""Checks and pages as a cluster makes them: sandboxes by the broker, clamd behind its relay, everything real but the pods."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broch_airlock.checks.clamd_config import eicar
from broch_airlock.checks.model import CheckResult, Direction, FileUnderCheck, Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.supervisor import check_files, overall
from broch_airlock.viewer.render import render
from support.clamd_relayed import Relayed, relayed
from support.sandbox_rig import Rig, running

from .conftest import Lab
from .test_checks_verdicts import encrypted_zip, nested, notebook, tarred, zipped


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running(warm=1) as rig:
        yield rig


@pytest.fixture(scope="module")
def relay(lab: Lab) -> Iterator[Relayed]:
    with relayed(lab.setup.socket, lab.setup.database) as running_relay:
        yield running_relay


def check(
    folder: Path, rig: Rig, relay: Relayed, files: dict[str, bytes], policy: Policy | None = None
) -> dict[str, list[CheckResult]]:
    taken = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / f"blob-{number}"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        taken.append(FileUnderCheck(name, len(content), digest, path, Direction.INGRESS))
    answers = check_files(taken, policy or Policy(), relay.antivirus(), rig.sandbox())
    return dict(zip(files, answers, strict=True))


def said(answers: list[CheckResult]) -> dict[str, tuple[Verdict, list[str]]]:
    """Return what each check said.

    Where the sandbox calls a file unscannable, clamd's answer on it is not waited for: which comes first, that word or
    clamd's `clean`, is the processor's to say, and means the same.
    """
    told = {one.check: (one.verdict, [finding.rule for finding in one.findings]) for one in answers}
    if told["archive_limits"][0] is Verdict.UNSCANNABLE and told["malware"] == (Verdict.CLEAN, []):
        told["malware"] = (Verdict.UNSCANNABLE, ["not-waited-for"])
    return told


def test_the_checks_say_the_same_as_on_one_machine(
    tmp_path: Path, lab: Lab, rig: Rig, relay: Relayed
) -> None:
    files = {
        "words.txt": b"some words\n",
        "empty.csv": b"",
        "eicar.com": eicar(),
        "one.zip": zipped(("inner.txt", b"words"), ("eicar.txt", eicar())),
        "deep.zip": nested(eicar(), 4),
        "bomb.zip": nested(b"x", 9),
        "closed.zip": encrypted_zip(),
        "some.tar.gz": tarred(("a.txt", b"words"), ("b.txt", b"more")),
        "book.ipynb": notebook({"text/plain": "1"}),
        "cut.zip": zipped(("inner.txt", os.urandom(5000)))[:-40],
    }
    there = check(tmp_path, rig, relay, files)
    here = lab.check(dict(files))
    for name in files:
        assert said(there[name]) == said(here[name]), name
    assert {name: overall(there[name]) for name in ("words.txt", "one.zip", "closed.zip")} == {
        "words.txt": Verdict.CLEAN,
        "one.zip": Verdict.BLOCKED,
        "closed.zip": Verdict.UNSCANNABLE,
    }


def test_a_page_is_rendered_by_the_broker(tmp_path: Path, rig: Rig) -> None:
    path = tmp_path / "table"
    content = b"name,count\nfirst,1\nsecond,2\n"
    path.write_bytes(content)
    file = FileUnderCheck("t.csv", len(content), hashlib.sha256(content).hexdigest(), path, Direction.EGRESS)
    page = render(file, sandbox=rig.sandbox())
    assert page.kind == "table"
    assert "second" in page.html


def test_nothing_is_left_of_a_sandbox(tmp_path: Path, rig: Rig, relay: Relayed) -> None:
    check(tmp_path, rig, relay, {"words.txt": b"some words\n"})
    deadline = time.monotonic() + 10
    while "1 waiting" not in rig.sandbox().check() or len(rig.pods()) != 1:
        assert time.monotonic() < deadline, rig.pods()
        time.sleep(0.05)


def test_a_broker_killed_in_the_middle_is_an_error_and_the_next_one_answers(
    tmp_path: Path, relay: Relayed
) -> None:
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(60):
            archive.writestr(f"{number}.bin", os.urandom(200_000))
    files = {"large.zip": large.read_bytes()}
    with running() as doomed:
        answers: list[dict[str, list[CheckResult]]] = []
        asking = threading.Thread(target=lambda: answers.append(check(tmp_path, doomed, relay, files)))
        asking.start()
        deadline = time.monotonic() + 20
        while not any((doomed.folder / "pods").glob("*/in/0")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        doomed.kill()
        asking.join(60)
        assert not asking.is_alive()
        found = answers[0]["large.zip"]
        assert overall(found) is Verdict.ERROR
        assert "archive_limits" in {one.check for one in found if one.verdict is Verdict.ERROR}
    with running() as next_one:
        assert overall(check(tmp_path, next_one, relay, files)["large.zip"]) is not Verdict.ERROR


def test_no_broker_is_an_error_with_the_reason(tmp_path: Path, relay: Relayed) -> None:
    with running() as rig:
        rig.kill()
        time.sleep(0.3)
        found = check(tmp_path, rig, relay, {"words.txt": b"words"})["words.txt"]
    assert overall(found) is Verdict.ERROR
    told = [finding.message for answer in found for finding in answer.findings]
    assert any("The broker of sandboxes does not answer" in message for message in told)
