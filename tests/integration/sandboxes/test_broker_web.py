"""Who may ask the broker for a sandbox, for what, and in which order."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandboxes.client import BrokerProcess
from broch_workspaces.sandboxes.frames import (
    JOB,
    ORDER,
    REFUSED,
    TOKEN,
    frame,
    receive_frame,
)
from support.sandbox_rig import TOKEN as WEB_TOKEN
from support.sandbox_stage import SECONDS, Stage, is_closed, on_stage

CHECKS, RENDER = "broch_airlock.checks.inside", "broch_airlock.viewer.render.inside"


def test_only_web_with_its_token_and_its_certificate_is_served(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        assert "0 waiting" in stage.web().check()
        with pytest.raises(SandboxUnavailable, match="does not know this token"):
            stage.web(token="another").check()
        with pytest.raises(SandboxUnavailable, match="does not answer"):
            stage.web(tls="stranger").check()
        bare = stage.dial(stage.port)  # TLS 1.3 tells of a missing certificate with the first answer
        bare.sendall(frame(TOKEN, WEB_TOKEN.encode()))
        assert is_closed(bare)
        assert stage.starter.wanted.empty()


def test_an_empty_token_file_lets_nobody_in(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        (tmp_path / "secrets" / "sandboxes").write_text("")
        with pytest.raises(SandboxUnavailable, match="does not know this token"):
            stage.web(token="").check()


@pytest.mark.parametrize(
    "head",
    [
        b'{"module": "os", "cpu_seconds": 1, "sizes": []}',
        b'{"module": "broch_airlock.checks.inside", "cpu_seconds": 0, "sizes": []}',
        b'{"module": "broch_airlock.checks.inside", "cpu_seconds": 1, "sizes": [-1]}',
        b'{"module": "broch_airlock.checks.inside", "cpu_seconds": 1, "sizes": [true]}',
        b'{"module": "broch_airlock.checks.inside", "cpu_seconds": 1, "sizes": [], "image": "x"}',
        b"[]",
        b"\xff",
    ],
)
def test_an_order_outside_the_list_makes_no_pod(tmp_path: Path, head: bytes) -> None:
    with on_stage(tmp_path) as stage:
        connection = stage.dial(stage.port, certificate=True)
        connection.sendall(frame(TOKEN, WEB_TOKEN.encode()) + frame(ORDER, head) + frame(JOB, b"{}"))
        assert receive_frame(connection.recv, REFUSED)[0] == REFUSED
        assert stage.starter.wanted.empty()


def test_more_bytes_than_a_sandbox_takes_are_refused_before_they_are_sent(tmp_path: Path) -> None:
    with on_stage(tmp_path, inputs_bytes=1000) as stage:
        path = tmp_path / "large"
        path.write_bytes(b"x" * 1001)
        with pytest.raises(SandboxUnavailable, match="1001 bytes together; a sandbox takes 1000"):
            stage.web().start(CHECKS, [path], {}, 5)
        assert stage.starter.wanted.empty()


def test_turns_come_in_order_and_a_turn_is_free_again_when_its_holder_goes(tmp_path: Path) -> None:
    with on_stage(tmp_path, checks=1) as stage, ThreadPoolExecutor(4) as others:
        order: list[int] = []
        got: dict[int, BrokerProcess] = {}
        pods = []

        def ask(number: int) -> None:
            got[number] = stage.web().start(CHECKS, [], {}, 5)
            order.append(number)

        first = others.submit(ask, 1)
        pods.append(stage.pod())
        first.result(SECONDS)
        waiting = []
        for number in (2, 3):
            waiting.append(others.submit(ask, number))
            stage.until_waiting(number - 1)
        assert order == [1]
        assert stage.starter.wanted.empty(), "a second pod was made"
        got[1].kill()
        pods.append(stage.pod())
        waiting[0].result(SECONDS)
        assert order == [1, 2]
        got[2].kill()
        pods.append(stage.pod())
        waiting[1].result(SECONDS)
        assert order == [1, 2, 3]
        got[3].kill()


def test_who_leaves_while_waiting_takes_no_turn(tmp_path: Path) -> None:
    with on_stage(tmp_path, checks=1) as stage:
        holder = _held(stage, CHECKS)
        leaver = stage.dial(stage.port, certificate=True)
        head = b'{"module": "broch_airlock.checks.inside", "cpu_seconds": 1, "sizes": []}'
        leaver.sendall(frame(TOKEN, WEB_TOKEN.encode()) + frame(ORDER, head) + frame(JOB, b"{}"))
        stage.until_waiting(1)
        leaver.close()
        stage.until_waiting(0)
        holder.kill()
        assert stage.starter.ended.get(timeout=SECONDS)
        assert _held(stage, CHECKS).stdout is not None
        assert stage.starter.wanted.empty()


def test_checks_that_take_every_turn_do_not_keep_a_reviewer_waiting(tmp_path: Path) -> None:
    with on_stage(tmp_path, checks=1, renders=1, checks_wait_seconds=0.5) as stage:
        held = _held(stage, CHECKS)
        with pytest.raises(SandboxUnavailable, match="All sandboxes are in use"):
            stage.web().start(CHECKS, [], {}, 5)
        page = _held(stage, RENDER)
        held.kill()
        page.kill()


def test_a_sandbox_does_not_outlive_its_time(tmp_path: Path) -> None:
    with on_stage(tmp_path, most_seconds=1.0) as stage:
        process = _held(stage, CHECKS)
        began = time.monotonic()
        assert process.stdout.read() == b""
        assert process.wait() < 0
        assert time.monotonic() - began < 20
        assert stage.starter.ended.get(timeout=SECONDS)


def test_a_renewed_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    from support.cluster.authority import Authority
    from support.sandbox_rig import NAME

    with on_stage(tmp_path) as stage:
        web = stage.web()
        assert web.check()
        renewed = Authority("renewed")
        for who in ("broker", "web"):
            renewed.issue(NAME).write(tmp_path / who)
        assert web.check()
        with pytest.raises(SandboxUnavailable):  # of the authority of before
            stage.web(tls="stranger").check()


def _held(stage: Stage, module: str) -> BrokerProcess:
    """Return a process whose pod is there and says nothing."""
    pods = []
    playing = threading.Thread(target=lambda: pods.append(stage.pod()))
    playing.start()
    process = stage.web().start(module, [], {}, 5)
    playing.join(SECONDS)
    # Kept open as long as the process is.
    process.pod = pods[0]  # type: ignore[attr-defined]
    return process
