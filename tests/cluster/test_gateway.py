"""The zone gateway before a real API server: real pods, real projected tokens, real packets."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from broch_core.ids import new_id
from broch_workspaces.cluster.spec import namespace_of
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, eventually
from support.cluster.gateway_rig import (
    DOOR,
    HUB,
    NAME,
    OWN,
    Gateway,
    Inside,
    account_of_gateway,
    pod,
    running,
)
from support.cluster.places import answers

UPSTREAM = Path(__file__).parents[1] / "support" / "cluster" / "gateway_upstream.py"
AIRLOCK = Path(__file__).parents[2] / "spawner" / "broch_spawner" / "inside" / "airlock.py"
IMPORTS, DELIVERY = "/door/v1/imports", f"/door/v1/deliveries/{new_id()}"


@pytest.fixture(scope="module")
def folder(cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    authority.issue(NAME, addresses=[cluster.place.address]).write(folder / "tls")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "gateway").write_text("token-of-the-gateway")
    return folder


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, folder: Path) -> Iterator[Gateway]:
    address = cluster.place.address
    with ExitStack() as stack:
        for port in (DOOR, HUB):
            words = [sys.executable, UPSTREAM, folder / "tls", address, str(port)]
            ready = answers(address, port)
            stack.enter_context(cluster.place.running(words, folder / f"upstream-{port}.log", ready=ready))
        kubeconfig = account_of_gateway(cluster, folder, rights=True)
        yield stack.enter_context(running(cluster, folder, kubeconfig, idle_seconds="2", header_seconds="2"))


# ---- zones ------------------------------------------------------------------


@contextmanager
def zone(cluster: Cluster, folder: Path, name: str = "") -> Iterator[str]:
    """Make a namespace with what a pod of a zone finds there."""
    with cluster.namespace(name=name or namespace_of(new_id())) as namespace:
        kinds = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in
                 ("workspace", "importer")]  # fmt: skip
        ca = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "broch-ca"},
            "data": {"ca.crt": (folder / "tls" / "ca.crt").read_text()},
        }
        cluster.apply(*kinds, ca, namespace=namespace)
        yield namespace


@pytest.fixture(scope="module")
def zones(cluster: Cluster, folder: Path) -> Iterator[tuple[str, str]]:
    with zone(cluster, folder) as one, zone(cluster, folder) as two:
        yield one, two


@pytest.fixture(scope="module")
def workspace(cluster: Cluster, gateway: Gateway, python: str, zones: tuple[str, str]) -> Inside:
    cluster.run(pod(gateway, python, "ws-of-ruth"), zones[0])
    return Inside(cluster, zones[0], "ws-of-ruth")


@pytest.fixture(scope="module")
def importer(cluster: Cluster, gateway: Gateway, python: str, zones: tuple[str, str]) -> Inside:
    cluster.run(pod(gateway, python, "import-1", "importer"), zones[0])
    return Inside(cluster, zones[0], "import-1")


@pytest.fixture(scope="module")
def neighbour(cluster: Cluster, gateway: Gateway, python: str, zones: tuple[str, str]) -> Inside:
    cluster.run(pod(gateway, python, "ws-of-sam"), zones[1])
    return Inside(cluster, zones[1], "ws-of-sam")


def made_token(cluster: Cluster, namespace: str, account: str, *words: str) -> str:
    return cluster.kubectl("create", "token", account, "-n", namespace, *words).strip()


def bound_to(inside: Inside) -> Sequence[str]:
    uid = inside.cluster.get("pod", inside.name, inside.namespace)["metadata"]["uid"]
    return (
        "--bound-object-kind=Pod",
        f"--bound-object-name={inside.name}",
        f"--bound-object-uid={uid}",
    )


# ---- who passes -------------------------------------------------------------


def test_a_workspace_is_named_by_its_own_token(workspace: Inside):
    status, said = workspace.ask(IMPORTS)
    assert status == 200
    assert said["target"] == IMPORTS
    assert said["headers"]["authorization"] == "Bearer token-of-the-gateway"
    assert said["headers"]["broch-pod"] == f"{workspace.namespace}/{workspace.name}"
    assert said["headers"]["broch-account"] == "workspace"
    assert workspace.token() not in json.dumps(said)


def test_the_airlock_command_works_in_a_pod_without_dns(workspace: Inside):
    words = ["/bin/python3", "-I", "-S", "-", "status"]
    out = workspace.cluster.exec(workspace.namespace, workspace.name, *words, stdin=AIRLOCK.read_text())
    assert out == "No airlock requests yet. Start one with: airlock submit FILE\n"


def test_each_account_has_its_own_calls(workspace: Inside, importer: Inside):
    assert importer.ask(DELIVERY)[1]["headers"]["broch-account"] == "importer"
    assert workspace.ask(DELIVERY)[0] == 403
    assert importer.ask(IMPORTS)[0] == 403


def test_hub_calls_need_no_token_of_the_cluster_and_no_others_pass(workspace: Inside):
    status, said = workspace.ask("/hub/api/user", "the-hubs-own")
    assert (status, said["headers"]["authorization"]) == (200, "Bearer the-hubs-own")
    assert "broch-pod" not in said["headers"]
    for path in ("/hub/login", "/hub/api/users", "/internal/v1/zones", "/api/v1/projects", "//hub/api"):
        assert workspace.ask(path)[0] == 403


# ---- who does not -----------------------------------------------------------


def test_tokens_made_for_something_else_are_no_use(
    cluster: Cluster, gateway: Gateway, zones: tuple[str, str], workspace: Inside
):
    bound = bound_to(workspace)
    tokens = {
        "for the API server": made_token(cluster, zones[0], "workspace", *bound),
        "for another audience": made_token(cluster, zones[0], "workspace", "--audience=other", *bound),
        "bound to no pod": made_token(cluster, zones[0], "workspace", "--audience=broch-gateway"),
        "of another account": made_token(cluster, zones[0], "default", "--audience=broch-gateway"),
    }
    found = {what: gateway.ask(IMPORTS, token)[0] for what, token in tokens.items()}
    assert found == dict.fromkeys(tokens, 401)
    good = made_token(cluster, zones[1], "workspace", "--audience=broch-gateway")
    assert gateway.ask(IMPORTS, good)[0] == 401


def test_the_same_account_in_a_namespace_that_is_no_zone_is_nobody(
    cluster: Cluster, gateway: Gateway, folder: Path, python: str
):
    for name in ("elsewhere", "zone-elsewhere"):
        with zone(cluster, folder, name) as namespace:
            cluster.run(pod(gateway, python, "ws-1"), namespace)
            assert Inside(cluster, namespace, "ws-1").ask(IMPORTS)[0] == 401


def test_a_token_that_was_touched_is_nobodys(gateway: Gateway, workspace: Inside):
    head, body, signature = workspace.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["exp"] += 3600
    longer = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    for token in (f"{head}.{longer}.{signature}", f"{head}.{body}.{flipped}", f"{none}.{body}.x", "", "x"):
        assert gateway.ask(IMPORTS, token)[0] == 401


def test_a_token_that_was_carried_to_another_zone_is_no_use_there(workspace: Inside, neighbour: Inside):
    stolen = workspace.token()
    assert workspace.ask(IMPORTS)[0] == 200
    status, said = neighbour.ask(IMPORTS, stolen)
    assert (status, said["detail"]) == (403, "This token belongs to a workspace at another address.")
    assert neighbour.ask(IMPORTS)[1]["headers"]["broch-pod"] == f"{neighbour.namespace}/{neighbour.name}"


def test_the_token_of_a_pod_that_is_gone_dies_with_it(
    cluster: Cluster, gateway: Gateway, python: str, zones: tuple[str, str], workspace: Inside
):
    wanted = pod(gateway, python, "ws-short")
    cluster.run(wanted, zones[0])
    short = Inside(cluster, zones[0], "ws-short")
    old = short.token()
    assert short.ask(IMPORTS)[0] == 200
    cluster.delete("pod", "ws-short", zones[0])
    began = time.monotonic()
    # From another address it would be refused anyway: only what the API server says is looked at.
    eventually(lambda: gateway.ask(IMPORTS, old)[0] == 401, seconds=30)
    assert time.monotonic() - began < 20
    cluster.run(wanted, zones[0])
    assert short.ask(IMPORTS)[0] == 200
    assert gateway.ask(IMPORTS, old)[0] == 401
    assert workspace.ask(IMPORTS)[0] == 200


def test_without_the_word_of_the_api_server_nobody_passes(
    cluster: Cluster, folder: Path, gateway: Gateway, workspace: Inside
):
    del gateway  # its upstreams are those of the others, too
    token = workspace.token()
    away = json.loads(account_of_gateway(cluster, folder, rights=True).read_text())
    away["clusters"][0]["cluster"]["server"] = f"https://{cluster.place.address}:1"
    nowhere = folder / "away.kubeconfig"
    nowhere.write_text(json.dumps(away))
    powerless = account_of_gateway(cluster, folder, rights=False)
    for port, kubeconfig in ((9543, nowhere), (9643, powerless)):
        with running(cluster, folder, kubeconfig, port) as other:
            status, said = other.ask(IMPORTS, token)
            assert status == 503
            assert "cannot say" in said["detail"]
            assert other.ask("/hub/api", "x")[0] == 200


# ---- sizes and patience -----------------------------------------------------


def test_a_file_that_says_to_be_too_large_is_refused_before_it_is_sent(gateway: Gateway, workspace: Inside):
    path = f"/door/v1/drafts/{new_id()}/files/table.csv"
    words = {"method": "PUT", "Content_Type": "application/octet-stream"}
    # Only the size is wrong here: from this machine the token would be refused next.
    assert gateway.ask(path, workspace.token(), Content_Length=str((2 << 30) + 1), **words)[0] == 413


def test_who_drips_headers_is_cut_and_harms_nobody(gateway: Gateway, workspace: Inside):
    slow = [gateway.connect() for _ in range(20)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(b"GET /door/v1/imports HTTP/1.1\r\nA: b")
    assert workspace.ask(IMPORTS)[0] == 200
    for connection in slow:
        connection.settimeout(10)
        with connection:
            assert connection.recv(1) == b""
    assert time.monotonic() - began < 15


def test_health_is_not_where_zones_are(cluster: Cluster, gateway: Gateway, workspace: Inside):
    assert workspace.ask("/healthz")[0] == 403
    assert workspace.ask("/metrics")[0] == 403
    own = Gateway(gateway.address, OWN, gateway.ca)
    with own.connect() as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n")
        assert b'broch_gateway_passed_total{upstream="door"}' in connection.recv(65536)
