"""Which cluster the tests run on: the project's own test bed, or the one that `BROCH_TEST_KUBECONFIG` names."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import pytest
from kubernetes import client as api
from kubernetes import config as api_config

from support.cluster.cluster import Cluster, Node
from support.cluster.places import Place

SCRIPT = Path(__file__).parents[2] / "cluster" / "testbed" / "testbed"
_INDEXES = range(32)


def _testbed(index: int, *words: str, policies: str = "enforced", seconds: float = 300) -> str:
    done = subprocess.run(
        [SCRIPT, *words],
        env=os.environ | {"TESTBED_INDEX": str(index), "TESTBED_POLICIES": policies},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"testbed {' '.join(words)} failed:\n{done.stdout}{done.stderr}"[-4000:])
    return done.stdout


def _folder() -> Path:
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class _Bed:
    """One index of test beds, held by this run of the tests."""

    index: int

    @property
    def state(self) -> Path:
        return _folder() / f"k8s-testbed-{self.index}"

    @property
    def mark(self) -> Path:
        """Lies in the state of a test bed that tests brought up."""
        return self.state / "of-tests"

    def by_hand(self) -> bool:
        """Return whether somebody brought it up for purposes of their own."""
        return self.state.exists() and not self.mark.exists()


@contextmanager
def _claimed(wanted: str | None, *, empty: bool) -> Iterator[_Bed]:
    """Hold an index that no other run of the tests holds: the `wanted` one, else the first free one.

    Of the ones that are up by hand only 0 is taken without being asked for, and none if it must be `empty`.
    """
    for index in [int(wanted)] if wanted else _INDEXES:
        bed = _Bed(index)
        handle: IO[bytes] = (_folder() / f"broch-tests-{index}.lock").open("wb")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if bed.by_hand() and (empty or not (wanted or index == 0)):
                continue
            yield bed
            return
    pytest.fail(
        f"other tests run on test bed {wanted or 'of every index'}: wait, or choose another TESTBED_INDEX"
    )


@contextmanager
def own_cluster(
    *, policies: Literal["enforced", "ignored"] = "enforced", empty: bool = False
) -> Iterator[Cluster]:
    """Bring the test bed up and take it down.

    One that was up before, by hand, stays up; one that a killed run left behind is made anew. With
    BROCH_TEST_KEEP=1 it stays up in any case.

    Args:
        policies: `ignored` makes a second one beside it, whose network does not do what policies say.
        empty: none that is up by hand: what is done to it is more than its owner would like.
    """
    if os.geteuid() != 0:
        pytest.fail("the test bed wants root; BROCH_TEST_KUBECONFIG names another cluster")
    second = policies == "ignored"
    with _claimed(None if second else os.environ.get("TESTBED_INDEX"), empty=second or empty) as bed:
        by_hand = bed.by_hand()
        if not by_hand:
            _testbed(bed.index, "down")
            bed.state.mkdir(mode=0o700, exist_ok=True)
            bed.mark.touch()
        began = time.monotonic()
        try:
            _testbed(bed.index, "up", policies=policies, seconds=3600)
            sys.stderr.write(f"test bed {bed.index}: up after {time.monotonic() - began:.1f} s\n")
            facts = dict(line.split("=", 1) for line in _testbed(bed.index, "facts").splitlines())
            yield Cluster(
                kubeconfig=Path(facts["kubeconfig"]),
                programs=f"{facts['path']}:{os.environ.get('PATH', os.defpath)}",
                node=Node(
                    facts["node"],
                    facts["node_ip"],
                    ("env", f"TESTBED_INDEX={bed.index}", str(SCRIPT), "exec"),
                ),
                place=Place(facts["node_ip"], ("nsenter", f"--net=/proc/{facts['node_pid']}/ns/net", "--")),
                own=True,
            )
        finally:
            if not by_hand and (second or os.environ.get("BROCH_TEST_KEEP") != "1"):
                _testbed(bed.index, "down")


@contextmanager
def named_cluster(kubeconfig: Path) -> Iterator[Cluster]:
    """Use a cluster that exists (kind, k3d, any).

    BROCH_TEST_NODE is a command that runs its arguments on the node as root (`docker exec -i kind-control-plane`),
    to load images and to lay out data. BROCH_TEST_ADDRESS is this machine's address as pods reach it: databases
    of the tests listen there.
    """
    missing = [name for name in ("kubectl", "helm") if shutil.which(name) is None]
    if missing:
        pytest.fail(f"not on PATH: {', '.join(missing)}")
    settings = api.Configuration()
    api_config.load_kube_config(str(kubeconfig), client_configuration=settings)
    with api.ApiClient(settings) as client:
        first = api.CoreV1Api(client).list_node().items[0]
    addresses = {address.type: address.address for address in first.status.addresses}
    yield Cluster(
        kubeconfig=kubeconfig,
        programs=os.environ.get("PATH", os.defpath),
        node=Node(
            first.metadata.name,
            addresses["InternalIP"],
            tuple(shlex.split(os.environ.get("BROCH_TEST_NODE", ""))),
        ),
        place=Place(os.environ.get("BROCH_TEST_ADDRESS", "")),
        own=False,
    )


@contextmanager
def any_cluster() -> Iterator[Cluster]:
    """Yield the cluster that this run of the tests is for."""
    named = os.environ.get("BROCH_TEST_KUBECONFIG")
    with named_cluster(Path(named)) if named else own_cluster() as cluster:
        yield cluster
