"""A running Kubernetes cluster, as tests use it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client as api
from kubernetes import config as api_config

from support.cluster import oci
from support.cluster.places import Place

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """The node that pods run on (the first one, where a cluster has several)."""

    name: str
    address: str
    enter: tuple[str, ...]
    """Words before a command that run it on the node as root; empty where nobody said how."""


class Refused(AssertionError):
    """A command ended with an error; `str()` is what it printed."""


@dataclass(frozen=True)
class Cluster:
    """What `kubectl` reaches, and the node beneath it."""

    kubeconfig: Path
    programs: str
    """Value of `PATH` with kubectl and helm."""
    node: Node
    place: Place
    """Where to start a process that pods and this machine shall reach: beside the node, outside the cluster."""
    own: bool
    """Made for the tests: they may stop its parts and change its network."""

    # ---- commands -----------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the environment for kubectl, helm and whatever else shall reach the cluster."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": self.programs}

    def _run(self, words: Sequence[str], stdin: str | None, seconds: float) -> str:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise Refused(f"{' '.join(words[:8])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Run kubectl and return what it printed.

        Raises:
            Refused: it failed.
        """
        return self._run(["kubectl", *words], stdin, seconds)

    def helm(self, *words: str, seconds: float = 600) -> str:
        """Run helm and return what it printed.

        Raises:
            Refused: it failed.
        """
        return self._run(["helm", *words], None, seconds)

    def on_node(self, *words: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run a command on the node as root.

        Raises:
            Refused: it failed, or nobody said how to get there.
        """
        if not self.node.enter:
            raise Refused("BROCH_TEST_NODE does not say how to run a command on the node")
        return self._run([*self.node.enter, *words], stdin, seconds)

    # ---- objects ------------------------------------------------------------

    def apply(self, *manifests: Manifest, namespace: str = "", as_user: Sequence[str] = ()) -> None:
        """Apply manifests, on the server's side and strictly.

        Args:
            manifests: any kinds.
            namespace: for those that name none.
            as_user: further words, such as `--as`, `--as-group`.

        Raises:
            Refused: one was refused; the server's reason is the message.
        """
        where = ["--namespace", namespace] if namespace else []
        listing = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        words = ["apply", "--server-side", "--validate=strict", *where, *as_user, "--filename=-"]
        self.kubectl(*words, stdin=json.dumps(listing))

    def get(self, kind: str, name: str = "", namespace: str = "", selector: str = "") -> dict[str, Any]:
        """Return one object, or with no name a list of them."""
        words = ["get", kind, *([name] if name else []), "--output=json"]
        words += ["--namespace", namespace] if namespace else []
        words += ["--selector", selector] if selector else []
        found: dict[str, Any] = json.loads(self.kubectl(*words))
        return found

    def exists(self, kind: str, name: str, namespace: str = "") -> bool:
        """Return whether there is such an object."""
        where = ["--namespace", namespace] if namespace else []
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "--output=name", *where).strip())

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        """Delete an object; that it is gone already is no error."""
        where = ["--namespace", namespace] if namespace else []
        self.kubectl("delete", kind, name, *where, "--ignore-not-found", f"--wait={str(wait).lower()}")

    def wait(self, condition: str, what: str, namespace: str = "", seconds: float = 120) -> None:
        """Wait for a condition as `kubectl wait --for` has it (`condition=Ready`, `jsonpath=...`, `delete`).

        Raises:
            Refused: it did not come; for a pod the message holds its state and its events.
        """
        where = ["--namespace", namespace] if namespace else []
        timeout = f"--timeout={seconds:.0f}s"
        try:
            self.kubectl("wait", f"--for={condition}", what, *where, timeout, seconds=seconds + 30)
        except Refused as problem:
            raise Refused(f"{problem}\n{self.kubectl('describe', what, *where)[-3000:]}") from problem

    @contextmanager
    def namespace(
        self, prefix: str = "test", labels: Mapping[str, str] | None = None, *, name: str = ""
    ) -> Iterator[str]:
        """Make a namespace with a random name (or `name`) and its default account; delete it afterwards.

        One of that name that is on its way out is waited for: an earlier test may have had it.
        """
        if name:
            eventually(lambda: not self._ending(name), seconds=180)
        name = name or f"{prefix}-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            eventually(lambda: self.exists("serviceaccount", "default", name))
            yield name
        finally:
            if os.environ.get("BROCH_TEST_KEEP") != "1":
                self.delete("namespace", name, wait=False)

    def _ending(self, name: str) -> bool:
        words = (
            "get",
            "namespace",
            name,
            "--ignore-not-found",
            "--output=jsonpath={.metadata.deletionTimestamp}",
        )
        return bool(self.kubectl(*words).strip())

    # ---- pods ---------------------------------------------------------------

    def run(self, pod: Manifest, namespace: str, seconds: float = 120) -> str:
        """Create a pod and wait until it is Ready; return its address."""
        self.apply(pod, namespace=namespace)
        name = pod["metadata"]["name"]
        self.wait("condition=Ready", f"pod/{name}", namespace, seconds)
        return str(self.get("pod", name, namespace)["status"]["podIP"])

    def exec(
        self, namespace: str, pod: str, *words: str, stdin: str | None = None, seconds: float = 60
    ) -> str:
        """Run a command in a pod's first container and return what it printed.

        Raises:
            Refused: it failed.
        """
        more = ["--stdin"] if stdin is not None else []
        return self.kubectl("exec", *more, "-n", namespace, pod, "--", *words, stdin=stdin, seconds=seconds)

    def logs(self, namespace: str, pod: str, *words: str) -> str:
        """Return what a pod printed."""
        return self.kubectl("logs", "-n", namespace, pod, *words)

    # ---- images -------------------------------------------------------------

    def load_image(
        self,
        name: str,
        folder: Path,
        entrypoint: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Load an image into the node's container runtime; return its reference by digest.

        A pod may name it with `imagePullPolicy` `IfNotPresent` or `Never`.

        Args:
            name: `broch` becomes `local/broch@sha256:...`.
            folder: an OCI layout with one image, or a root file system.
            entrypoint: of the image made from a root file system.
            environment: likewise.

        Raises:
            Refused: the runtime did not take it, or nobody said how to reach it.
        """
        if not self.node.enter:
            raise Refused("BROCH_TEST_NODE does not say how to run a command on the node, to load an image")
        full = f"docker.io/local/{name}"
        runtime = [*self.node.enter, "ctr", "-n", "k8s.io", "images"]
        with tempfile.TemporaryDirectory(prefix="broch-image-") as work, tempfile.TemporaryFile() as packed:
            layout = folder
            if not (folder / "oci-layout").exists():
                layout = oci.write(folder, Path(work) / "oci", entrypoint, environment)
            digest = oci.archive(layout, "1", packed)
            packed.seek(0)
            done = subprocess.run(
                [*runtime, "import", "--base-name", full, "-"],
                stdin=packed,
                capture_output=True,
                text=True,
                env=self.environment(),
                timeout=300,
                check=False,
            )
        if done.returncode:
            raise Refused(f"importing {name}: {done.stderr.strip()[-1000:]}")
        # The kubelet asks the runtime for the reference as the pod gives it: an image that was never pulled is
        # found by digest only if it has a name with that digest.
        self._run([*runtime, "tag", "--force", f"{full}:1", f"{full}@{digest}"], None, 60)
        return f"local/{name}@{digest}"

    # ---- the API ------------------------------------------------------------

    def api_client(self, token: str = "") -> api.ApiClient:
        """Return a client of the Kubernetes library, as administrator or with a token of somebody else."""
        settings = api.Configuration()
        api_config.load_kube_config(str(self.kubeconfig), client_configuration=settings)
        if token:
            settings.cert_file = settings.key_file = None
            settings.api_key = {"authorization": f"Bearer {token}"}
        return api.ApiClient(settings)


def eventually(question: Callable[[], object], seconds: float = 60, pause: float = 0.2) -> None:
    """Ask until the answer is true; the last time once the time is over, so that a slow answer costs no try.

    Raises:
        AssertionError: it never was; the last `Refused` or `AssertionError` is its cause.
    """
    end = time.monotonic() + seconds
    while True:
        over = time.monotonic() > end
        last: AssertionError | None = None
        try:
            if question():
                return
        except AssertionError as problem:
            last = problem
        if over:
            raise AssertionError(f"not true after {seconds:.0f} s") from last
        time.sleep(pause)


def eventually_none(question: Callable[[], Mapping[str, str]], seconds: float = 60) -> None:
    """Ask what is left until nothing is.

    Raises:
        AssertionError: something always was; it says what, the last time.
    """

    def nothing() -> bool:
        left = question()
        assert left == {}, f"left: {left}"
        return True

    eventually(nothing, seconds)
