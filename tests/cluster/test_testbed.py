"""The cluster that tests run on really enforces what the platform asks of it."""

from __future__ import annotations

import json
import secrets
import ssl
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import httpx
import psycopg
import pytest

from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, Refused, eventually, eventually_none
from support.cluster.database import Databases
from support.cluster.objects import Objects
from support.cluster.outside import LISTENERS
from support.cluster.places import Place, answers
from support.cluster.targets import Target, listening_pod, probe, python_pod, reached, unreached
from support.keycloak import Keycloak

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def space(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("testbed") as name:
        yield name


def policy(*directions: str) -> dict:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny"},
        "spec": {"podSelector": {}, "policyTypes": list(directions)},
    }


def test_an_image_runs_by_its_digest(cluster: Cluster, python: str, space: str):
    assert "@sha256:" in python
    cluster.run(python_pod("main", python), space)
    status = cluster.get("pod", "main", space)["status"]["containerStatuses"][0]
    assert status["imageID"].endswith(python.split("@")[1])


def test_an_image_with_another_digest_does_not_run(cluster: Cluster, python: str, space: str):
    pod = python_pod("main", f"local/python@sha256:{secrets.token_hex(32)}")
    cluster.apply(pod, namespace=space)
    waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull"
    cluster.wait(waiting, "pod/main", space)


@pytest.mark.usefixtures("enforced")
def test_a_denied_direction_takes_no_packet_and_the_other_still_does(
    cluster: Cluster, python: str, space: str
):
    address = cluster.run(listening_pod("server", python, "tcp:0.0.0.0:8080", "udp:0.0.0.0:8081"), space)
    targets = [
        Target("tcp", "tcp", address, 8080),
        Target("udp", "udp", address, 8081),
        Target("icmp", "icmp", address),
    ]
    with cluster.namespace("testbed-other") as other:
        cluster.run(python_pod("client", python), other)
        assert unreached(probe(cluster, other, "client", targets)) == {}
        cluster.apply(policy("Ingress"), namespace=space)
        eventually_none(lambda: reached(probe(cluster, other, "client", targets)))
        cluster.delete("networkpolicy", "deny", space)
        eventually_none(lambda: unreached(probe(cluster, other, "client", targets)))
        cluster.apply(policy("Egress"), namespace=other)
        eventually_none(lambda: reached(probe(cluster, other, "client", targets)))


@pytest.mark.usefixtures("enforced")
def test_what_lies_outside_answers_until_a_policy_denies_it(
    cluster: Cluster, python: str, space: str, outside: tuple[Target, ...], inside: tuple[Target, ...]
):
    targets = [*outside, *inside]
    cluster.run(python_pod("client", python), space)
    eventually_none(lambda: unreached(probe(cluster, space, "client", targets)))
    cluster.apply(policy("Egress"), namespace=space)
    eventually_none(lambda: reached(probe(cluster, space, "client", targets)))


@pytest.mark.usefixtures("enforced")
def test_a_policy_holds_from_a_pods_first_instruction(
    cluster: Cluster, python: str, space: str, outside: tuple[Target, ...]
):
    target = next(target for target in outside if target.kind == "tcp")
    source = f"""
import socket, sys, time
hits = 0
for _ in range(200):
    try:
        socket.create_connection(({target.host!r}, {target.port}), timeout=0.02).close()
        hits += 1
    except OSError:
        time.sleep(0.001)
sys.stdout.write(f"hits {{hits}}\\n")
"""
    once = {"restartPolicy": "Never"}
    done = "jsonpath={.status.phase}=Succeeded"
    cluster.apply(python_pod("control", python, source, spec=once), namespace=space)
    cluster.wait(done, "pod/control", space)
    # Not all 200: on a busy machine an answer may take longer than the tries, which are short to be many.
    assert int(cluster.logs(space, "control").split()[1]) > 100
    with cluster.namespace("testbed-closed") as closed:
        cluster.apply(policy("Egress"), namespace=closed)
        for number in range(3):
            cluster.apply(python_pod(f"early-{number}", python, source, spec=once), namespace=closed)
        for number in range(3):
            cluster.wait(done, f"pod/early-{number}", closed)
            assert cluster.logs(closed, f"early-{number}") == "hits 0\n"


def test_pod_security_refuses_a_privileged_pod_and_takes_a_hardened_one(cluster: Cluster, python: str):
    with cluster.namespace("testbed-restricted", RESTRICTED) as space:
        cluster.run(python_pod("good", python), space)
        bad = python_pod("bad", python, container={"securityContext": {"privileged": True}})
        with pytest.raises(Refused, match='violates PodSecurity "restricted'):
            cluster.apply(bad, namespace=space)


def test_a_quota_on_an_extended_resource_holds_the_next_pod(
    cluster: Cluster, python: str, space: str, gpus: str
):
    hard = {f"requests.{gpus}": "1"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "gpus"},
            "spec": {"hard": hard},
        },
        namespace=space,
    )
    eventually(lambda: cluster.get("resourcequota", "gpus", space).get("status", {}).get("hard") == hard)
    one = {"resources": {"limits": {gpus: "1"}}}
    cluster.run(python_pod("first", python, container=one), space)
    with pytest.raises(Refused, match="exceeded quota: gpus"):
        cluster.apply(python_pod("second", python, container=one), namespace=space)


def test_a_mount_below_read_only_data_is_read_only_in_a_user_namespace(
    cluster: Cluster, python: str, space: str
):
    folder = f"/var/lib/broch-tests/{space}"
    cluster.on_node(
        "sh",
        "-c",
        f"mkdir -p {folder}/below && mount -t tmpfs -o mode=777 tmpfs {folder}/below && echo rows >{folder}/table",
    )
    try:
        volume = {"name": "data", "hostPath": {"path": folder, "type": "Directory"}}
        mount = {"name": "data", "mountPath": "/tmp/data", "readOnly": True}
        for name, more in (("shallow", {}), ("whole", {"recursiveReadOnly": "Enabled"})):
            spec = {"volumes": [volume], "hostUsers": False}
            pod = python_pod(name, python, spec=spec, container={"volumeMounts": [{**mount, **more}]})
            cluster.run(pod, space)
        source = """
import json, os
found = {"read": open("/tmp/data/table").read(), "root outside": int(open("/proc/self/uid_map").read().split()[1])}
for place in ("/tmp/data/new", "/tmp/data/below/new"):
    try:
        open(place, "w").close()
        found[place] = "written"
    except OSError as problem:
        found[place] = problem.strerror
print(json.dumps(found))
"""
        shallow, whole = (
            json.loads(cluster.exec(space, name, "/bin/python3", "-I", "-S", "-", stdin=source))
            for name in ("shallow", "whole")
        )
        assert shallow["/tmp/data/below/new"] == "written"  # so that the refusal below can fail
        assert whole["read"] == "rows\n"
        assert whole["root outside"] != 0
        assert whole["/tmp/data/new"] == whole["/tmp/data/below/new"] == "Read-only file system"
    finally:
        cluster.on_node("sh", "-c", f"umount {folder}/below; rm -rf {folder}")


def test_an_unprivileged_pod_writes_to_a_volume_made_for_its_claim(cluster: Cluster, python: str, space: str):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "home"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.apply(claim, namespace=space)
    spec = {"volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}]}
    security = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000}
    mounts = {"volumeMounts": [{"name": "home", "mountPath": "/tmp/home"}]}
    pod = python_pod("main", python, spec={**spec, "securityContext": security}, container=mounts)
    cluster.run(pod, space)
    source = "open('/tmp/home/file', 'x').write('kept'); print(open('/tmp/home/file').read())"
    assert cluster.exec(space, "main", "/bin/python3", "-I", "-S", "-c", source) == "kept\n"
    assert cluster.get("pvc", "home", space)["status"]["phase"] == "Bound"


def test_nothing_in_the_test_bed_reaches_the_machine_that_it_runs_on(
    cluster: Cluster, python: str, space: str, tmp_path: Path
):
    if not cluster.own:
        pytest.fail("only the test bed promises this: run without BROCH_TEST_KUBECONFIG")
    address = cluster.run(listening_pod("main", python, "tcp:0.0.0.0:8080"), space)
    # The node's end of the pair of devices has the next address.
    target = Target("machine", "tcp", str(ip_address(cluster.node.address) - 1), 18098)
    listen = [sys.executable, "-I", "-S", LISTENERS, f"tcp:{target.host}:{target.port}"]
    log = tmp_path / "log"
    with Place(target.host).running(listen, log, ready=answers(target.host, target.port)):
        assert answers(address, 8080)()  # the other way round is open
        assert not probe(cluster, space, "main", [target])["machine"].reached
        with pytest.raises(AssertionError, match="timed out"):
            cluster.place.run(
                sys.executable,
                "-c",
                f"import socket; socket.create_connection({(target.host, target.port)!r}, 3)",
            )


def test_the_database_beside_the_cluster_speaks_tls_alone_and_has_two_accounts(
    databases: Databases, authority: Authority, tmp_path: Path
):
    database = databases.fresh()
    trusted = str(authority.write(tmp_path / "ca.crt"))
    owner, app = (
        url.replace("postgresql+psycopg", "postgresql")
        for url in (database.owner_url(trusted), database.app_url(trusted))
    )
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE thing (id int)")
        connection.execute("GRANT USAGE ON SCHEMA public TO broch_app")
        connection.execute("GRANT SELECT ON thing TO broch_app")
    with psycopg.connect(app, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM thing").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE thing")
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(app.replace("sslmode=verify-full", "sslmode=disable"))


def test_the_object_store_beside_the_cluster_keeps_what_it_is_given(objects: Objects):
    client = objects.client()
    client.put_object(Bucket=objects.bucket, Key="a/b", Body=b"bytes")
    assert client.get_object(Bucket=objects.bucket, Key="a/b")["Body"].read() == b"bytes"


def test_the_provider_of_identities_beside_the_cluster_names_itself_by_that_address(
    cluster: Cluster, keycloak: Keycloak
):
    trusted = ssl.create_default_context(cafile=str(keycloak.authority))
    with httpx.Client(verify=trusted, timeout=30) as client:
        found = client.get(f"{keycloak.issuer('master')}/.well-known/openid-configuration").json()
    assert found["issuer"] == keycloak.issuer("master")
    assert cluster.place.address in found["issuer"]


@pytest.mark.usefixtures("databases", "objects", "keycloak")
def test_pods_reach_what_lies_beside_the_cluster(cluster: Cluster, python: str, space: str):
    cluster.run(python_pod("client", python), space)
    targets = [
        Target("database", "tcp", cluster.place.address, 5432),
        Target("object store", "tcp", cluster.place.address, 7070),
        Target("provider of identities", "tcp", cluster.place.address, 8543),
    ]
    assert unreached(probe(cluster, space, "client", targets)) == {}
