"""A real clamd behind its relay, over TLS with certificates on both sides."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broch_airlock.checks.antivirus import LocalAntivirus, RelayedClamd
from broch_airlock.checks.clamd_config import ClamdSettings, eicar
from broch_airlock.checks.model import Verdict
from broch_airlock.checks.supervisor import overall
from support.clamd_relayed import NAME, Relayed, relayed

from .conftest import Lab, start_lab, stop_lab

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def relay(lab: Lab) -> Iterator[Relayed]:
    with relayed(lab.setup.socket, lab.setup.database) as running:
        yield running


def scan(antivirus: RelayedClamd, content: bytes, most: int = 1 << 30) -> tuple[Verdict, str]:
    one = antivirus.scan(most_bytes=most, seconds=30)
    for start in range(0, len(content), 1 << 20):
        one.send(content[start : start + (1 << 20)])
    one.finish()
    answer = one.result()
    return answer.verdict, answer.rule


def test_what_clamd_knows_is_found_through_the_relay(relay: Relayed) -> None:
    antivirus = relay.antivirus()
    assert scan(antivirus, b"harmless")[0] is Verdict.CLEAN
    assert scan(antivirus, b"")[0] is Verdict.CLEAN
    assert scan(antivirus, os.urandom(20 << 20))[0] is Verdict.CLEAN
    verdict, rule = scan(antivirus, eicar())
    assert verdict is Verdict.BLOCKED
    assert "EICAR" in rule


def test_a_scanner_elsewhere_is_sent_bytes_never_descriptors(lab: Lab, relay: Relayed) -> None:
    assert not isinstance(relay.antivirus(), LocalAntivirus)
    assert isinstance(lab.setup.antivirus(), LocalAntivirus)


def test_whole_checks_run_through_the_relay(lab: Lab, relay: Relayed) -> None:
    antivirus = relay.antivirus()
    answers = lab.check({"good.txt": b"some words\n", "bad.txt": eicar()}, antivirus=antivirus)
    assert overall(answers["good.txt"]) is Verdict.CLEAN
    assert overall(answers["bad.txt"]) is Verdict.BLOCKED


def test_who_shows_no_certificate_of_ours_gets_no_answer(relay: Relayed) -> None:
    stranger = relay.antivirus(tls="stranger")
    assert scan(stranger, b"harmless")[0] is Verdict.ERROR
    assert stranger.health(DAY).verdict is Verdict.ERROR
    plain = socket.create_connection(("127.0.0.1", relay.port), 5)
    plain.settimeout(15)
    plain.sendall(b"zPING\0")
    try:
        said = plain.recv(16)
    except OSError:
        said = b""  # reset: nothing was said either
    assert b"PONG" not in said
    plain.close()


def test_a_relay_of_another_authority_is_not_believed(relay: Relayed) -> None:
    from broch_airlock.checks.clamd_connection import RelayAddress
    from support.cluster.authority import Authority

    folder = Path(tempfile.mkdtemp())
    try:
        Authority("elsewhere").issue(NAME).write(folder)
        antivirus = RelayedClamd(RelayAddress(f"{NAME}:{relay.port}", folder))
        assert scan(antivirus, eicar())[0] is Verdict.ERROR
    finally:
        shutil.rmtree(folder)


def test_signatures_without_a_date_are_old_unless_both_sides_are_told(relay: Relayed, lab: Lab) -> None:
    assert relay.antivirus().health(DAY).ok
    assert "for tests" in relay.antivirus().health(DAY).engine
    untold = relay.antivirus(test_signatures=False).health(DAY)
    assert (untold.ok, untold.verdict) == (False, Verdict.UNSCANNABLE)
    with relayed(lab.setup.socket, None) as silent:
        assert not silent.antivirus().health(DAY).ok


def test_signatures_of_our_own_grow_old(lab: Lab) -> None:
    folder = Path(tempfile.mkdtemp(prefix="broch-signatures-"))
    folder.chmod(0o755)
    file = folder / "own.ndb"
    file.write_text("Own:0:*:00\n")
    with relayed(lab.setup.socket, folder) as relay:
        assert relay.antivirus().health(DAY).ok
        long_ago = time.time() - 3 * 86400
        os.utime(file, (long_ago, long_ago))
        assert "3 days old" in relay.antivirus().health(DAY).reason
        file.unlink()
        assert not relay.antivirus().health(DAY).ok
    shutil.rmtree(folder)


def test_the_answer_is_not_lost_when_clamd_gives_it_before_the_end() -> None:
    """clamd closes while bytes still come; a connection closed on unread bytes is reset, and the answer gone."""
    folder = Path(tempfile.mkdtemp(prefix="broch-lab-"))
    keeper, lab = start_lab(folder, ClamdSettings(max_file_bytes=1 << 20))
    try:
        with relayed(lab.setup.socket, lab.setup.database) as relay:
            for _ in range(10):
                assert scan(relay.antivirus(), b"x" * (30 << 20)) == (
                    Verdict.UNSCANNABLE,
                    "clamd-stream-limit",
                )
    finally:
        stop_lab(keeper)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_scanner_that_dies_is_an_error_and_so_is_one_that_is_not_there() -> None:
    folder = Path(tempfile.mkdtemp(prefix="broch-lab-"))
    keeper, lab = start_lab(folder)
    try:
        with relayed(lab.setup.socket, lab.setup.database) as relay:
            one = relay.antivirus().scan(most_bytes=1 << 30, seconds=20)
            one.send(b"some bytes")
            time.sleep(0.3)
            os.kill(lab.clamd_pid, signal.SIGKILL)
            time.sleep(0.3)
            one.send(b"more bytes")
            one.finish()
            assert one.result().verdict is Verdict.ERROR
            assert scan(relay.antivirus(), eicar())[0] is Verdict.ERROR
            assert relay.antivirus().health(DAY).verdict is Verdict.ERROR
    finally:
        stop_lab(keeper)
        shutil.rmtree(folder, ignore_errors=True)


def test_an_answer_nobody_waits_for_any_more_is_given_up_at_once(relay: Relayed) -> None:
    one = relay.antivirus().scan(most_bytes=1 << 30, seconds=60)
    one.send(b"some bytes")
    one.hurry()
    began = time.monotonic()
    assert one.result().verdict is Verdict.ERROR
    assert time.monotonic() - began < 20, "it had a minute"


def test_connections_beyond_the_bound_and_silent_ones_are_closed(lab: Lab) -> None:
    with relayed(lab.setup.socket, lab.setup.database, connections=2, idle_seconds=1.0) as relay:
        context = ssl.create_default_context(cafile=str(relay.folder / "web" / "ca.crt"))
        context.load_cert_chain(relay.folder / "web" / "tls.crt", relay.folder / "web" / "tls.key")

        def connect() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", relay.port), 5)
            return context.wrap_socket(plain, server_hostname=NAME)

        silent = [connect(), connect()]
        with pytest.raises(OSError, match=r"."):
            connect()
        for one in silent:
            one.settimeout(10)
            assert one.recv(1) == b""
            one.close()
        deadline = time.monotonic() + 5
        while not relay.antivirus().health(DAY).ok:
            assert time.monotonic() < deadline
