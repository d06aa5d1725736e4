"""Kueue on the test cluster: its own chart and rights, its manager built from its published sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.cluster.bringing_up import SCRIPT
from support.cluster.cluster import Cluster, Refused, eventually

NAMESPACE = "kueue-system"
GROUP = "kueue.x-k8s.io"
BUILD_SECONDS = 800
CONFIGURATION: dict[str, Any] = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
    "integrations": {"frameworks": ["pod"]},
    "managedJobsNamespaceSelector": {"matchLabels": {"broch.dev/role": "zone"}},
}
"""Pods of zones alone, as `docs/operations.md` asks for; the rest as Kueue's chart has it."""


def _built() -> Path:
    """Return the folder with Kueue's manager and chart; built if they are not there yet."""
    began = time.monotonic()
    done = subprocess.run(
        [SCRIPT, "build", "kueue"],
        env=os.environ | {"PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"testbed build kueue failed:\n{done.stdout}{done.stderr}"[-4000:])
    sys.stderr.write(f"Kueue: built or found after {time.monotonic() - began:.1f} s\n")
    return Path(done.stdout.strip())


def _values(image: str) -> dict[str, Any]:
    name, _, digest = image.rpartition(":")
    manager = {
        # The chart joins both by a colon, and so makes a reference by digest.
        "image": {"repository": name, "tag": digest, "pullPolicy": "IfNotPresent"},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        # Kueue's own image has a user of this number; ours is a single file.
        "podSecurityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "controllerManager": {
            "manager": manager,
            "readinessProbe": {"initialDelaySeconds": 1},
        },
        "managerConfig": {"controllerManagerConfigYaml": json.dumps(CONFIGURATION, indent=1)},
    }


@contextmanager
def running_kueue(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Have Kueue on the cluster for the time of a `with` block; one that is there already is used, and stays.

    Args:
        cluster: where.
        folder: for its image and its values.
    """
    if cluster.exists("customresourcedefinition", f"localqueues.{GROUP}"):
        yield
        return
    built = _built()
    root = folder / "root"
    root.mkdir()
    shutil.copy2(built / "kueue", root / "manager")
    image = cluster.load_image("kueue", root)
    (folder / "values.json").write_text(json.dumps(_values(image)))
    began = time.monotonic()
    with cluster.namespace(name=NAMESPACE):
        try:
            cluster.helm(
                "install", "kueue", str(built / "chart"), "--namespace", NAMESPACE,
                "--values", str(folder / "values.json"), "--wait", "--timeout=180s",
            )  # fmt: skip
        except Refused as problem:
            raise Refused(f"{problem}\n{_state(cluster)}") from problem
        sys.stderr.write(f"Kueue: ready {time.monotonic() - began:.1f} s after helm install\n")
        try:
            yield
        finally:
            _remove(cluster)


def _state(cluster: Cluster) -> str:
    said = cluster.kubectl("describe", "pods", "--namespace", NAMESPACE)[-3000:]
    try:
        return said + cluster.kubectl(
            "logs", "--namespace", NAMESPACE, "deploy/kueue-controller-manager", "--tail=40"
        )
    except Refused as nothing:
        return f"{said}\n{nothing}"


def _remove(cluster: Cluster) -> None:
    """Uninstall it. Its objects go first: their finalizers are for the manager to take away."""
    for kind in ("localqueues", "workloads"):
        cluster.kubectl("delete", f"{kind}.{GROUP}", "--all", "--all-namespaces", "--wait=false")
    for kind in ("clusterqueues", "resourceflavors"):
        cluster.kubectl("delete", f"{kind}.{GROUP}", "--all", "--wait=false")
    eventually(lambda: not cluster.get(f"clusterqueues.{GROUP}")["items"], seconds=60)
    eventually(lambda: not cluster.get(f"resourceflavors.{GROUP}")["items"], seconds=60)
    cluster.helm("uninstall", "kueue", "--namespace", NAMESPACE, "--wait")
