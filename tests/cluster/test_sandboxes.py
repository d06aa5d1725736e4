"""Sandboxes as real pods: one for each check, which reaches nothing, changes nothing, and is gone afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broch_airlock.checks.antivirus import AntivirusHealth, ClamdScan
from broch_airlock.checks.clamd_connection import UnixAddress
from broch_airlock.checks.model import CheckResult, Direction, FileUnderCheck, Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.supervisor import INSIDE, check_files
from broch_airlock.viewer.render import render
from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandboxes.client import BrokerProcess, BrokerSandbox
from support.cluster.authority import Authority
from support.cluster.broker import ClusterBroker, running_broker
from support.cluster.cluster import Cluster, Refused, eventually
from support.cluster.targets import Target, listening_pod, probe, python_pod, reached, unreached

PYTHON = "/opt/venv/bin/python"


class NoScanner:
    """A scanner that is away: these tests are about sandboxes. What it would say is `error`."""

    def health(self, longest_age: timedelta) -> AntivirusHealth:
        del longest_age
        now = datetime.now(UTC)
        return AntivirusHealth(
            ok=False, engine="none", signatures_at=now, reason="No scanner here.", verdict=Verdict.ERROR
        )

    def scan(self, *, most_bytes: int, seconds: float) -> ClamdScan:
        return ClamdScan(UnixAddress(Path("/nowhere")), most_bytes, seconds)


@pytest.fixture(scope="module")
def broker(
    cluster: Cluster,
    authority: Authority,
    image: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterBroker]:
    folder = tmp_path_factory.mktemp("broker")
    with running_broker(cluster, authority, image("broch"), folder, checks="2", warm="1") as running:
        yield running


def of(answers: list[CheckResult], check: str) -> Verdict:
    return next(one.verdict for one in answers if one.check == check)


def taken(folder: Path, name: str, content: bytes) -> FileUnderCheck:
    path = folder / f"blob-{time.monotonic_ns()}"
    path.write_bytes(content)
    return FileUnderCheck(name, len(content), hashlib.sha256(content).hexdigest(), path, Direction.EGRESS)


def check(broker: ClusterBroker, file: FileUnderCheck) -> list[CheckResult]:
    return check_files([file], Policy(), NoScanner(), broker.sandbox())[0]


def zipped(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.bin", os.urandom(size))
    return out.getvalue()


def waiting_pod(broker: ClusterBroker) -> str:
    """Return the pod that will be taken next, once it is the only one."""
    eventually(lambda: len(broker.names()) == 1 and "1 waiting" in broker.sandbox().check(), seconds=90)
    (pod,) = broker.names()
    return pod


def held(broker: ClusterBroker, folder: Path) -> tuple[BrokerProcess, str]:
    """Return a check that is under way, because nobody takes what it writes, and its pod."""
    pod = waiting_pod(broker)
    file = taken(folder, "held.zip", zipped(40 << 20))
    limits = {"limits": Policy().limits().__dict__}
    job = limits | {"files": [{"name": file.name, "direction": "egress"}]}
    process = broker.sandbox().start(INSIDE, [file.path], job, 60)
    assert process.stdout.read(1)
    return process, pod


def execute(
    broker: ClusterBroker, pod: str, source: str, container: str = "look", seconds: float = 120
) -> str:
    words = ["exec", "-n", broker.space, pod, "-c", container, "--", PYTHON, "-I", "-c", source]
    return broker.cluster.kubectl(*words, seconds=seconds)


def test_every_check_has_a_pod_of_its_own_and_leaves_nothing(broker: ClusterBroker, tmp_path: Path) -> None:
    seen: set[str] = set()
    seconds = []
    for number in range(3):
        pod = waiting_pod(broker)
        assert pod not in seen
        seen.add(pod)
        began = time.monotonic()
        answers = check(broker, taken(tmp_path, "words.csv", b"a,b\n1,2\n" * number))
        seconds.append(time.monotonic() - began)
        assert of(answers, "archive_limits") is Verdict.CLEAN
        eventually(lambda gone=pod: gone not in broker.names(), seconds=30)
    print(f"a check with a pod waiting: {', '.join(f'{one:.2f}' for one in seconds)} s")  # noqa: T201 - a measurement


def test_a_page_is_shown_from_a_pod(broker: ClusterBroker, tmp_path: Path) -> None:
    page = render(taken(tmp_path, "t.csv", b"name,count\nfirst,1\nsecond,2\n"), sandbox=broker.sandbox())
    assert page.kind == "table"
    assert "second" in page.html


def test_a_sandbox_cannot_touch_its_inputs_nor_anything_else(broker: ClusterBroker, tmp_path: Path) -> None:
    process, pod = held(broker, tmp_path)
    source = """
import json, os
tried = {}
def attempt(name, action):
    try:
        action(); tried[name] = "done"
    except OSError as error:
        tried[name] = error.strerror
attempt("read", lambda: open("/in/0", "rb").read(10))
attempt("write", lambda: open("/in/0", "r+b"))
attempt("chmod", lambda: os.chmod("/in/0", 0o666))
attempt("unlink", lambda: os.unlink("/in/0"))
for folder in ("/in", "/run/sandbox", "/", "/tmp", "/opt/venv", "/var/tmp", "/home"):
    attempt("create " + folder, lambda: open(folder + "/new", "wb"))
attempt("setuid", lambda: os.setuid(0))
environments = b""
for one in os.listdir("/proc"):
    if one.isdigit():
        try:
            environments += open(f"/proc/{one}/environ", "rb").read()
        except OSError:
            pass
print(json.dumps({
    "tried": tried,
    "token": b"BROCH_SANDBOX_TOKEN" in environments or "BROCH_SANDBOX_TOKEN" in os.environ,
    "account": os.path.exists("/var/run/secrets/kubernetes.io"),
    "uid": os.getuid(),
    "users": open("/proc/self/uid_map").read().split()[1],
}))
"""
    told = json.loads(execute(broker, pod, source))
    assert told["tried"].pop("read") == "done"
    assert "done" not in told["tried"].values(), told
    assert (told["token"], told["account"], told["uid"]) == (False, False, 1000)
    assert told["users"] != "0", "the pod shares the machine's user namespace"
    # The twin: the container that fetches the inputs has a token, and may write them.
    source = "import os; open('/in/new', 'wb').write(b'x'); print('BROCH_SANDBOX_TOKEN' in os.environ)"
    assert execute(broker, pod, source, "carry").strip() == "True"
    process.kill()
    process.stdout.close()


def test_a_sandbox_reaches_the_brokers_one_port_and_nothing_else(
    broker: ClusterBroker, python: str, inside: tuple[Target, ...], enforced: float, tmp_path: Path
) -> None:
    del enforced
    cluster = broker.cluster
    address = cluster.get("pod", "broker", broker.release)["status"]["podIP"]
    neighbour = cluster.run(listening_pod("neighbour", python, "tcp:0.0.0.0:8080"), broker.release)
    door = Target("the broker's door for sandboxes", "tcp", address, 8447)
    others = (
        Target("the broker's door for web", "tcp", address, 8446),
        Target("another pod", "tcp", neighbour, 8080),
        *inside,
    )
    cluster.run(python_pod("control", python), broker.release)
    assert unreached(probe(cluster, broker.release, "control", [door, *others])) == {}
    process, pod = held(broker, tmp_path)
    found = probe(cluster, broker.space, pod, [door, *others])
    assert found.pop(door.name).reached
    assert reached(found) == {}
    process.kill()
    process.stdout.close()


def test_a_sandbox_is_reached_by_nobody(
    broker: ClusterBroker, python: str, enforced: float, tmp_path: Path
) -> None:
    del enforced
    cluster = broker.cluster
    process, pod = held(broker, tmp_path)
    address = cluster.get("pod", pod, broker.space)["status"]["podIP"]
    listening = "import socket; s = socket.create_server(('0.0.0.0', 9000)); s.settimeout(120); s.accept(); print('!')"
    words: list[str] = []

    def listen() -> None:
        try:
            words.append(execute(broker, pod, listening, seconds=180))
        except Refused as problem:
            words.append(str(problem)[-200:])

    waiting = threading.Thread(target=listen)
    waiting.start()
    cluster.run(python_pod("caller", python), broker.release)
    # By what its kernel lists, so that nobody takes the one connection: port 9000, which listens.
    table = "print(open('/proc/net/tcp').read())"
    eventually(lambda: ":2328 00000000:0000 0A" in execute(broker, pod, table, "carry"), seconds=30)
    target = Target("the sandbox", "tcp", address, 9000)
    assert reached(probe(cluster, broker.release, "caller", [target])) == {}
    # The twin: it does listen, as its own container sees.
    near = "import socket; socket.create_connection(('127.0.0.1', 9000), 5)"
    execute(broker, pod, near, "carry")
    waiting.join(200)
    assert words == ["!\n"]
    process.kill()
    process.stdout.close()


class Meanwhile:
    """Sandboxes in which a check has begun and cannot end, for nobody takes what it writes, while something is done."""

    def __init__(self, sandbox: BrokerSandbox, act: Callable[[], object]) -> None:
        self._sandbox, self._act = sandbox, act

    def start(
        self, module: str, inputs: Sequence[Path], job: Mapping[str, Any], cpu_seconds: int
    ) -> BrokerProcess:
        process = self._sandbox.start(module, inputs, job, cpu_seconds)
        assert process.stdout.peek(1)
        self._act()
        return process


def test_a_pod_deleted_in_the_middle_is_an_error_and_the_next_check_answers(
    broker: ClusterBroker, tmp_path: Path
) -> None:
    pod = waiting_pod(broker)
    file = taken(tmp_path, "large.zip", zipped(50 << 20))

    def delete() -> None:
        # Not by force, which forgets the pod while its processes go on for a while: they might get to the end.
        broker.cluster.kubectl("delete", "pod", "-n", broker.space, pod, "--grace-period=1")

    held_up = Meanwhile(broker.sandbox(), delete)
    (answers,) = check_files([file], Policy(), NoScanner(), held_up)
    assert of(answers, "archive_limits") is Verdict.ERROR
    assert of(check(broker, file), "archive_limits") is Verdict.CLEAN


def test_a_caller_that_goes_ends_its_pod(broker: ClusterBroker, tmp_path: Path) -> None:
    process, pod = held(broker, tmp_path)
    began = time.monotonic()
    process.kill()
    eventually(lambda: pod not in broker.names(), seconds=30)
    print(f"gone after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement
    process.stdout.close()


def test_a_broker_that_starts_anew_removes_what_it_left(broker: ClusterBroker, tmp_path: Path) -> None:
    cluster = broker.cluster
    process, pod = held(broker, tmp_path)
    execute(broker, pod, "pass")
    container = cluster.get("pod", "broker", broker.release)["status"]["containerStatuses"][0]
    name = container["containerID"].removeprefix("containerd://")
    cluster.on_node("ctr", "-n", "k8s.io", "tasks", "kill", "--signal", "KILL", name)
    assert process.stdout.read() is not None
    assert process.wait() < 0
    eventually(lambda: pod not in broker.names(), seconds=90)

    def answers() -> bool:
        try:
            return "1 waiting" in broker.sandbox().check()
        except SandboxUnavailable:
            return False

    eventually(answers, seconds=90)


def test_the_brokers_account_may_do_no_more_than_it_must(broker: ClusterBroker) -> None:
    account = f"--as=system:serviceaccount:{broker.release}:broker"

    def may(*words: str) -> bool:
        try:
            return broker.cluster.kubectl("auth", "can-i", *words, account).strip() == "yes"
        except Refused:
            return False

    assert all(may(verb, "pods", "-n", broker.space) for verb in ("create", "delete", "list"))
    for words in (
        ("get", "secrets", "-n", broker.space),
        ("create", "pods", "--subresource=exec", "-n", broker.space),
        ("patch", "pods", "-n", broker.space),
        ("create", "pods", "-n", broker.release),
        ("list", "pods", "-n", "kube-system"),
        ("get", "secrets", "-n", broker.release),
    ):
        assert not may(*words), words
