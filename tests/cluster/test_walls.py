"""What a running notebook of an installed Broch can and cannot do, tried from inside its pod with real packets and files.

Whoever may break the glass enters the pod: the network, the mounts and the account are those of the notebook's kernels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pytest

from support.cluster.browsing import Desk, call, eventually_called
from support.cluster.cluster import Cluster, Refused, eventually, eventually_none
from support.cluster.release import DATASETS, SPACE, Release, zone_of
from support.cluster.targets import (
    PROBE,
    Found,
    Target,
    listening_pod,
    probe,
    python_pod,
    reached,
    unreached,
)

_PYTHON = "/opt/venv/bin/python"
_GLASS = ("--as=system:admin", "--as-group=system:masters", "--as-group=broch:break-glass")


@dataclass(frozen=True)
class Notebook:
    """A running workspace, entered by breaking the glass."""

    cluster: Cluster
    space: str
    pod: str

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run a command beside the notebook's kernels."""
        more = ["--stdin"] if stdin is not None else []
        inside = ["exec", *more, "-n", self.space, self.pod, "-c", "notebook", *_GLASS, "--"]
        return self.cluster.kubectl(*inside, *words, stdin=stdin, seconds=120)

    def probe(self, targets: Sequence[Target]) -> dict[str, Found]:
        """Try to reach something."""
        asked = json.dumps([asdict(target) for target in targets])
        said = json.loads(self.run(_PYTHON, "-I", "-", asked, stdin=PROBE))
        return {name: Found(**found) for name, found in said.items()}

    def python(self, source: str) -> str:
        """Run Python there and return what it printed."""
        return self.run(_PYTHON, "-I", "-c", source)


@pytest.fixture(scope="module")
def notebook(desk: Desk, texture: str, cluster: Cluster) -> Iterator[Notebook]:
    ada = desk.page("ada")
    made = call(ada, "POST", "/api/v1/workspaces", {"project_id": texture})
    eventually_called(ada, f"/api/v1/workspaces/{made['id']}", {"status": "running"}, seconds=120)
    space = zone_of(cluster, texture)
    (pod,) = cluster.get("pods", namespace=space, selector="broch.dev/role=workspace")["items"]
    yield Notebook(cluster, space, pod["metadata"]["name"])
    call(ada, "POST", f"/api/v1/workspaces/{made['id']}/stop")


@pytest.fixture(scope="module")
def control(cluster: Cluster, python: str) -> Iterator[str]:
    """Return the namespace of a pod outside all zones that reaches what zones must not."""
    with cluster.namespace("control") as space:
        cluster.run(python_pod("control", python), space)
        yield space


@pytest.fixture(scope="module")
def neighbours(cluster: Cluster, python: str) -> Iterator[tuple[Target, ...]]:
    """Return a pod and a service of another zone, as the controller would have labelled it, but open to everybody."""
    labels = {"app.kubernetes.io/part-of": "elsewhere"}
    with cluster.namespace("other-zone", labels) as space:
        address = cluster.run(listening_pod("server", python, "tcp:0.0.0.0:8888"), space)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8888}]},
        }
        cluster.apply(service, namespace=space)
        by_service = cluster.get("service", "server", space)["spec"]["clusterIP"]
        yield (
            Target("another zone's pod", "tcp", address, 8888),
            Target("another zone's service", "tcp", by_service, 80),
        )


def components(cluster: Cluster) -> tuple[Target, ...]:
    """Return every port of Broch's own parts, by pod and by service, but for the gateway's one."""
    found = []
    for service in cluster.get("services", namespace=SPACE)["items"]:
        for port in service["spec"]["ports"]:
            name = f"{service['metadata']['name']}:{port['port']}"
            if name != "broch-gateway:8443":
                found.append(Target(f"service {name}", "tcp", service["spec"]["clusterIP"], port["port"]))
    for pod in cluster.get("pods", namespace=SPACE)["items"]:
        part = pod["metadata"]["labels"].get("app.kubernetes.io/component", "")
        for container in pod["spec"]["containers"]:
            for port in container.get("ports", []):
                if (part, port["containerPort"]) != ("gateway", 8443):
                    name = f"pod of {part}, port {port['containerPort']}"
                    found.append(Target(name, "tcp", pod["status"]["podIP"], port["containerPort"]))
    return tuple(found)


def test_no_packet_of_a_notebook_arrives_anywhere_but_at_the_gateway(
    notebook: Notebook,
    cluster: Cluster,
    enforced: float,
    control: str,
    inside: tuple[Target, ...],
    outside: tuple[Target, ...],
    neighbours: tuple[Target, ...],
) -> None:
    targets = (*inside, *outside, *neighbours)
    # A service of a moment ago is on its way to the node's tables.
    eventually_none(lambda: unreached(probe(cluster, control, "control", targets)))
    assert reached(notebook.probe(targets)) == {}
    gateway = Target("gateway", "tcp", "gateway.broch.internal", 8443)
    assert unreached(notebook.probe([gateway])) == {}


def test_of_broch_itself_a_notebook_reaches_the_gateways_one_port(
    notebook: Notebook, cluster: Cluster
) -> None:
    # Each listens: the kubelet's own probes hold the pods ready. The control is the gateway, of the same release.
    targets = components(cluster)
    assert len(targets) > 8
    found = notebook.probe((*targets, Target("gateway", "tcp", "gateway.broch.internal", 8443)))
    assert reached(found).keys() == {"gateway"}


_ASK = """
import json, ssl, sys, urllib.error, urllib.request
token = open("/run/broch/identity/token").read()
for path in sys.argv[1:]:
    request = urllib.request.Request("https://gateway.broch.internal:8443" + path,
        headers={"Authorization": "Bearer " + token})
    try:
        print(path, urllib.request.urlopen(request, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(path, error.code)
"""


def test_the_gateway_answers_what_is_on_its_list_and_nothing_of_the_hubs_pages(notebook: Notebook) -> None:
    pages = ("/hub/home", "/hub/token", "/hub/admin", "/hub/api/users", "/hub/api/proxy", "/hub/spawn",
             "/internal/v1/zones", "/api/v1/projects", "/metrics", "/door/v1/deliveries/" + "0" * 26)  # fmt: skip
    said = notebook.run(_PYTHON, "-I", "-c", _ASK, "/door/v1/imports", *pages).splitlines()
    answers = dict(line.rsplit(" ", 1) for line in said)
    assert answers.pop("/door/v1/imports") == "200"
    assert set(answers.values()) <= {"403", "404"}
    assert answers.keys() == set(pages)


def test_data_are_read_and_by_no_way_written(notebook: Notebook, cluster: Cluster) -> None:
    assert "clinical.csv" in notebook.run("ls", "/data/breast-cancer-wisconsin")
    for path in ("/data/breast-cancer-wisconsin/new", "/data/new", "/imports/new", "/opt/new", "/etc/new"):
        with pytest.raises(Refused, match=r"Read-only|Permission denied"):
            notebook.run("touch", path)
    for words in (
        ("mount", "-o", "remount,rw", "/data/breast-cancer-wisconsin"),
        ("chmod", "777", "/data/breast-cancer-wisconsin/clinical.csv"),
    ):
        with pytest.raises(Refused):
            notebook.run(*words)
    notebook.run("touch", "/home/researcher/mine", "/project/ours", "/tmp/passing")
    versions = cluster.on_node("ls", DATASETS).split()
    assert versions
    for version in versions:
        listed = cluster.on_node("ls", f"{DATASETS}/{version}").split()
        assert "new" not in listed


def test_a_mount_below_the_data_is_read_only_too(notebook: Notebook, cluster: Cluster, desk: Desk) -> None:
    mounts = notebook.python("print(open('/proc/self/mountinfo').read())").splitlines()
    fields = [line.split() for line in mounts if line]
    data = [line for line in fields if line[4].startswith("/data/")]
    assert data
    assert all("ro" in line[5].split(",") for line in data)
    pod = cluster.get("pod", notebook.pod, notebook.space)
    held = pod["spec"]["containers"][0]["volumeMounts"]
    assert {one.get("recursiveReadOnly") for one in held if one["mountPath"].startswith("/data/")} == {
        "Enabled"
    }


def test_a_notebook_is_an_ordinary_user_in_a_namespace_of_its_own_and_holds_one_token(
    notebook: Notebook,
) -> None:
    status = notebook.python("print(open('/proc/self/status').read())")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split() == ["1000"] * 4
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"
    outside = int(notebook.python("print(open('/proc/self/uid_map').read().split()[1])"))
    assert outside > 0  # root inside is nobody on the node
    with pytest.raises(Refused):
        notebook.run("ls", "/var/run/secrets/kubernetes.io/serviceaccount")
    assert notebook.run("ls", "/run/broch/identity").split() == ["token"]


def test_a_profile_without_a_gpu_sees_no_device_and_no_drivers(notebook: Notebook) -> None:
    assert "nvidia" not in notebook.run("ls", "/dev").lower()
    environment = notebook.python("import os; print('\\n'.join(sorted(os.environ)))").split()
    assert [name for name in environment if name.startswith(("CUDA", "NVIDIA_DRIVER"))] == []
    assert notebook.python("import os; print(os.environ.get('NVIDIA_VISIBLE_DEVICES'))").strip() == "void"


def test_a_zone_is_back_within_seconds_of_somebodys_hand(
    release: Release, texture: str, cluster: Cluster
) -> None:
    space = zone_of(cluster, texture)
    (policy, *_) = cluster.get("networkpolicies", namespace=space)["items"]
    cluster.delete("networkpolicy", policy["metadata"]["name"], space)
    eventually(lambda: cluster.exists("networkpolicy", policy["metadata"]["name"], space))
