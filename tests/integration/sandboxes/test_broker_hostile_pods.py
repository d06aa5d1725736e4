"""What pods may do to the broker and to web: nothing but end badly."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandboxes.client import BrokerProcess
from broch_workspaces.sandboxes.frames import OUTPUT, TOKEN, end_frame, frame
from broch_workspaces.sandboxes.starting import StartFailed
from support.sandbox_stage import SECONDS, Stage, is_closed, on_stage, take_job

MODULE = "broch_airlock.checks.inside"


def start(stage: Stage, *inputs: bytes, module: str = MODULE) -> BrokerProcess:
    paths = []
    for number, content in enumerate(inputs):
        path = stage.folder / f"input-{time.monotonic_ns()}-{number}"
        path.write_bytes(content)
        paths.append(path)
    return stage.web().start(module, paths, {"some": "job"}, 5)


def started(stage: Stage, *inputs: bytes) -> tuple[BrokerProcess, ssl.SSLSocket]:
    """Start, and play the pod for it."""
    with ThreadPoolExecutor(1) as other:
        pod = other.submit(stage.pod)
        process = start(stage, *inputs)
        return process, pod.result(SECONDS)


def test_a_pod_is_given_job_and_inputs_and_its_output_comes_back(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        process, pod = started(stage, b"one", b"", b"three" * 100_000)

        def play() -> tuple[str, bytes, bytes]:
            order, job, inputs = take_job(pod)
            pod.sendall(frame(OUTPUT, b"some ") + frame(OUTPUT) + frame(OUTPUT, b"output") + end_frame(3))
            return order.module, job, inputs

        with ThreadPoolExecutor(1) as other:
            playing = other.submit(play)
            assert process.stdout.read() == b"some output"
            assert playing.result(SECONDS) == (MODULE, b'{"some": "job"}', b"one" + b"three" * 100_000)
        assert process.wait() == 3
        process.stdout.close()
        assert stage.starter.ended.get(timeout=SECONDS)


def test_a_cut_is_told_from_an_end(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        process, pod = started(stage)
        pod.sendall(frame(OUTPUT, b"half"))
        pod.close()
        assert process.stdout.read() == b"half"
        assert process.wait() < 0


@pytest.mark.parametrize(
    "words",
    [b"\0" * 64, b"O\xff\xff\xff\xff" + b"x" * 64, b"E\0\0\0\1x" + b"x" * 64, b"A\0\0\0\0", b"O\0\0\0\5abc"],
    ids=["zeros", "too-long", "short-status", "the-brokers-own-word", "cut-in-a-frame"],
)
def test_nonsense_from_a_pod_ends_it_as_a_cut(tmp_path: Path, words: bytes) -> None:
    with on_stage(tmp_path) as stage:
        process, pod = started(stage)
        pod.sendall(frame(OUTPUT, b"so far") + words)
        pod.close()
        assert process.stdout.read() == b"so far"
        assert process.wait() < 0


def test_a_token_is_good_once_and_a_wrong_one_never(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage, ThreadPoolExecutor(1) as other:
        starting = other.submit(start, stage)
        _, token = stage.starter.wanted.get(timeout=SECONDS)
        assert len(token) * 4 >= 128
        for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), "", token.upper() + "x"):
            liar = stage.dial(stage.pods_port)
            liar.sendall(frame(TOKEN, wrong.encode()))
            assert is_closed(liar)
        first = stage.dial(stage.pods_port)
        first.sendall(frame(TOKEN, token.encode()))
        process = starting.result(SECONDS)
        second = stage.dial(stage.pods_port)
        second.sendall(frame(TOKEN, token.encode()))
        assert is_closed(second)
        first.sendall(frame(OUTPUT, b"the first one") + end_frame(0))
        assert process.stdout.read() == b"the first one"


def test_a_pod_that_never_calls_is_given_up_with_the_reason(tmp_path: Path) -> None:
    with on_stage(tmp_path, start_seconds=1.0) as stage:
        with pytest.raises(SandboxUnavailable, match="did not start in time"):
            start(stage)
        assert stage.starter.ended.get(timeout=SECONDS)
        with pytest.raises(SandboxUnavailable, match="did not start in time"):
            stage.web().check()


def test_a_pod_that_cannot_start_is_not_waited_for(tmp_path: Path) -> None:
    with on_stage(tmp_path, start_seconds=60.0) as stage:
        stage.starter.sick = "The image is not on the node."
        began = time.monotonic()
        with pytest.raises(SandboxUnavailable, match="not on the node"):
            start(stage)
        assert time.monotonic() - began < 30
        stage.starter.refusal = StartFailed("The cluster refused the pod.", lasting=True)
        with pytest.raises(SandboxUnavailable, match="refused the pod"):
            start(stage)


def test_a_warm_pod_serves_once_and_one_that_speaks_before_its_job_never(tmp_path: Path) -> None:
    with on_stage(tmp_path, warm=1) as stage:
        talker = stage.pod()
        talker.sendall(frame(OUTPUT, b"here is my verdict"))
        assert is_closed(talker)
        quiet = stage.pod()
        deadline = time.monotonic() + SECONDS
        while "1 waiting" not in stage.web().check() and time.monotonic() < deadline:
            time.sleep(0.01)
        process = start(stage)  # nobody plays a further pod: it is the one that waited
        take_job(quiet)
        quiet.sendall(frame(OUTPUT, b"quiet") + end_frame(0))
        assert process.stdout.read() == b"quiet"
        assert stage.starter.wanted.get(timeout=SECONDS), "nobody takes its place"


def test_output_waits_for_who_reads(tmp_path: Path) -> None:
    """A pod that writes without end fills no memory: it is stopped by who does not read."""
    with on_stage(tmp_path) as stage:
        process, pod = started(stage)
        pod.settimeout(2)
        sent = 0
        one = frame(OUTPUT, b"x" * (256 << 10))
        with contextlib.suppress(TimeoutError):
            while sent < 400 << 20:
                pod.sendall(one)
                sent += len(one)
        assert 0 < sent < 32 << 20
        process.kill()
        assert is_closed_or_broken(pod)
        process.stdout.close()


def is_closed_or_broken(pod: ssl.SSLSocket) -> bool:
    pod.settimeout(SECONDS)
    try:
        while pod.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_the_last_words_reach_a_reader_that_is_slow(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        process, pod = started(stage)

        def play() -> None:
            take_job(pod)
            for _ in range(40):
                pod.sendall(frame(OUTPUT, b"x" * (256 << 10)))
            pod.sendall(end_frame(0))
            pod.unwrap()  # as `carry` does: nothing of the pod is left when the broker has read it all
            pod.close()

        playing = threading.Thread(target=play)
        playing.start()
        time.sleep(1.5)
        assert len(process.stdout.read()) == 40 * (256 << 10)
        assert process.wait() == 0
        playing.join(SECONDS)


def test_kill_ends_the_pod_at_once(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage:
        process, pod = started(stage)
        reading = threading.Thread(target=process.stdout.read)
        reading.start()
        time.sleep(0.1)
        process.kill()
        assert stage.starter.ended.get(timeout=SECONDS)
        assert is_closed_or_broken(pod)
        reading.join(SECONDS)
        assert not reading.is_alive()
        assert process.wait() < 0
        process.kill()
        process.stdout.close()


def test_an_input_that_changes_size_is_a_cut(tmp_path: Path) -> None:
    with on_stage(tmp_path) as stage, ThreadPoolExecutor(1) as other:
        path = tmp_path / "grows"
        path.write_bytes(b"x" * 1000)
        pod = other.submit(stage.pod)
        process = stage.web().start(MODULE, [path], {}, 5)
        path.write_bytes(b"x" * 500)
        assert process.stdout.read() == b""
        assert process.wait() < 0
        assert is_closed_or_broken(pod.result(SECONDS)), "the pod waits for the rest"


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    with on_stage(tmp_path, connections_each=2, connections=16) as stage:
        flood = []
        for _ in range(40):
            connection = socket.create_connection(("127.0.0.1", stage.pods_port), SECONDS)
            flood.append(connection)
        with ThreadPoolExecutor(1) as other:
            pod = other.submit(stage.pod, "127.0.0.2")
            process = start(stage)
            pod.result(SECONDS).sendall(frame(OUTPUT, b"through") + end_frame(0))
        assert process.stdout.read() == b"through"
        # The twin: from the address of the flood nobody comes through.
        with pytest.raises((OSError, TimeoutError)):
            stage.dial(stage.pods_port)
        for connection in flood:
            connection.close()
