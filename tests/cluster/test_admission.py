"""The cluster itself refuses what no zone may have, whoever asks and whatever our code would have made of it."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterator

import pytest

from broch_workspaces.cluster.manifests import data_volume_name, zone_manifests
from broch_workspaces.cluster.pods import importer_pod, workspace_pod
from broch_workspaces.cluster.spec import ZoneSpec
from support.chart import NAMESPACE, RELEASE, render, values
from support.cluster.cluster import Cluster, Refused, eventually
from support.zones import (
    DIGEST,
    NOW,
    POD_SETTINGS,
    REMOVED,
    SOURCES,
    UPWARDS,
    VERSION,
    ZONE_SETTINGS,
    a_delivery,
    a_plan,
    a_volume,
    a_zone,
    otherwise,
    put,
)

ZONES = ZONE_SETTINGS.model_copy(
    update={"release": RELEASE, "release_namespace": NAMESPACE, "storage_class": None}
)


@pytest.fixture(scope="module")
def policies(cluster: Cluster) -> Iterator[None]:
    zones = {**values()["zones"], "sources": [SOURCES[kind] for kind in UPWARDS]}
    made = render(
        cluster.helm, values(zones=zones), only=("admission-zones", "admission-controller", "rights")
    )
    with cluster.namespace(name=NAMESPACE), cluster.namespace(name=f"{RELEASE}-sandboxes"):
        accounts = [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": f"{RELEASE}-{name}", "namespace": NAMESPACE},
            }
            for name in ("hub", "controller", "gateway", "sandboxes", "web")
        ]
        cluster.apply(*accounts, *made)
        yield
        for one in made:
            if "namespace" not in one["metadata"]:
                cluster.delete(one["kind"], one["metadata"]["name"], wait=False)


@pytest.fixture(scope="module")
def zone(cluster: Cluster, policies: None) -> Iterator[ZoneSpec]:
    """A real zone, as the controller makes it: by its own account, under its own policy."""
    spec = a_zone(project_id=f"01JNGZ{secrets.token_hex(10).upper()}", data=(a_volume(),), homes=())
    for one in zone_manifests(spec, ZONES):
        eventually(lambda one=one: applied(cluster, one, as_account("controller")), seconds=60)
    yield spec
    cluster.delete("namespace", spec.namespace, wait=False)
    cluster.delete("pv", data_volume_name(spec.project_id, VERSION), wait=False)


def applied(cluster: Cluster, manifest: dict, who: tuple[str, ...]) -> bool:
    cluster.apply(manifest, as_user=who)
    return True


@pytest.fixture(scope="module")
def bare(cluster: Cluster, policies: None) -> Iterator[str]:
    """A namespace that is a zone by its labels alone: neither Pod Security nor quota are in the way of the policies."""
    name = f"zone-{secrets.token_hex(13)}"
    labels = {
        "app.kubernetes.io/part-of": "broch",
        "broch.dev/role": "zone",
        "broch.dev/project": name.removeprefix("zone-"),
    }
    with cluster.namespace(name=name, labels=labels) as made:
        for account in ("workspace", "importer"):
            cluster.apply(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace=made
            )
        # Policies are read by the API server a moment after they were written.
        eventually(lambda: refused(cluster, changed(made, "spec/hostNetwork", True)), seconds=60)
        yield made


def as_account(name: str) -> tuple[str, ...]:
    return (f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-{name}",)


def good(namespace: str) -> dict:
    plan = a_plan(cluster={"namespace": namespace, "user_namespace": False})
    pod = workspace_pod(plan, POD_SETTINGS, {"JUPYTERHUB_API_TOKEN": "t"}, now=NOW)
    pod["metadata"]["labels"]["broch.dev/project"] = namespace.removeprefix("zone-")
    return pod


def changed(namespace: str, path: str, value: object) -> dict:
    """Return the good pod with one thing changed."""
    return put(good(namespace), path, value)


def ask(cluster: Cluster, manifest: dict, who: tuple[str, ...] = ()) -> str:
    """Ask for an object to be made. Admission decides as for a real request, and nothing is made."""
    return cluster.kubectl("create", "--dry-run=server", *who, "--filename=-", stdin=json.dumps(manifest))


def refused(cluster: Cluster, manifest: dict, who: tuple[str, ...] = ()) -> str:
    with pytest.raises(Refused) as problem:
        ask(cluster, manifest, who)
    return str(problem.value)


C = "spec/containers/0"
_POD = good("zone-" + "0" * 26)
MOUNTS = {one["mountPath"]: n for n, one in enumerate(_POD["spec"]["containers"][0]["volumeMounts"])}
VOLUMES = {one["name"]: n for n, one in enumerate(_POD["spec"]["volumes"])}
DATA = f"{C}/volumeMounts/{MOUNTS['/data/heart']}"
IMPORTS = f"{C}/volumeMounts/{MOUNTS['/imports']}"
NAME = _POD["spec"]["containers"][0]["volumeMounts"][MOUNTS["/data/heart"]]["name"]
CLAIM = f"spec/volumes/{VOLUMES[NAME]}"
CA = f"spec/volumes/{VOLUMES['broch-ca']}"
TOKEN = f"spec/volumes/{VOLUMES['identity']}/projected/sources/0/serviceAccountToken"

HAND_MADE = {
    "a foreign image": (f"{C}/image", f"docker.io/evil/python@{DIGEST}", "registry"),
    "an image by tag": (f"{C}/image", "registry.example.org/broch/workspace-python:1", "digest"),
    "a registry that begins alike": (
        f"{C}/image",
        f"registry.example.org.evil.org/broch/p@{DIGEST}",
        "registry",
    ),
    "another character for the dot": (f"{C}/image", f"registryxexample.org/broch/p@{DIGEST}", "registry"),
    "a privileged container": (f"{C}/securityContext", {"privileged": True}, "unprivileged"),
    "a writable root": (f"{C}/securityContext/readOnlyRootFilesystem", False, "unprivileged"),
    "a capability": (f"{C}/securityContext/capabilities/add", ["NET_RAW"], "unprivileged"),
    "root": (
        f"{C}/securityContext",
        {**_POD["spec"]["containers"][0]["securityContext"], "runAsNonRoot": False, "runAsUser": 0},
        "unprivileged",
    ),
    "an init container": ("spec/initContainers", [{"name": "b", "image": "b"}], "one container"),
    "a folder of the host": (CLAIM, {"name": NAME, "hostPath": {"path": "/"}}, "volumes are claims"),
    "a secret": (CA, {"name": "broch-ca", "secret": {"secretName": "x"}}, "volumes are claims"),
    "NFS inline": (CLAIM, {"name": NAME, "nfs": {"server": "a", "path": "/"}}, "volumes are claims"),
    "an unbounded folder": (f"spec/volumes/{VOLUMES['tmp']}/emptyDir", {}, "volumes are claims"),
    "another config map": (f"{CA}/configMap/name", "kube-root-ca.crt", "volumes are claims"),
    "a token for the API server": (f"{TOKEN}/audience", REMOVED, "volumes are claims"),
    "a token for a day": (f"{TOKEN}/expirationSeconds", 86400, "volumes are claims"),
    "a writable claim of data": (f"{CLAIM}/persistentVolumeClaim/readOnly", REMOVED, "read-only as claims"),
    "a writable mount of data": (DATA, {"name": NAME, "mountPath": "/data/heart"}, "below every mount"),
    "data writable below": (f"{DATA}/recursiveReadOnly", REMOVED, "below every mount"),
    "data writable below if the node likes": (f"{DATA}/recursiveReadOnly", "IfPossible", "below every mount"),
    "imports writable below": (f"{IMPORTS}/recursiveReadOnly", REMOVED, "below every mount"),
    "a part of a volume": (f"{DATA}/subPath", "a", "no parts of volumes"),
    "another project's label": ("metadata/labels/broch.dev~project", "other", "project's label"),
    "no project's label": ("metadata/labels/broch.dev~project", REMOVED, "project's label"),
    "no role": ("metadata/labels/broch.dev~role", REMOVED, "accounts of a zone"),
    "another role than the account's": ("spec/serviceAccountName", "importer", "accounts of a zone"),
    "a token by default": ("spec/automountServiceAccountToken", REMOVED, "volumes are claims"),
    "the host's network": ("spec/hostNetwork", True, "nothing of the node"),
    "the host's processes": ("spec/hostPID", True, "nothing of the node"),
    "the host's IPC": ("spec/hostIPC", True, "nothing of the node"),
    "a port of the host": (f"{C}/ports/0/hostPort", 8888, "nothing of the node"),
    "no deadline": ("spec/activeDeadlineSeconds", REMOVED, "deadline"),
    "a restart": ("spec/restartPolicy", "Always", "stays ended"),
    "cluster DNS": ("spec/dnsPolicy", "ClusterFirst", "no DNS"),
    "a resolver": ("spec/dnsConfig/nameservers", ["10.0.0.10"], "no DNS"),
    "search domains": ("spec/dnsConfig/searches", ["example.org"], "no DNS"),
    "variables from a secret": (f"{C}/envFrom", [{"secretRef": {"name": "x"}}], "plain values"),
    "a hook": (f"{C}/lifecycle", {"preStop": {"exec": {"command": ["id"]}}}, "hooks"),
    "a chosen node": ("spec/nodeName", "node-1", "scheduler"),
}


@pytest.mark.parametrize("what", sorted(HAND_MADE))
def test_a_hand_made_pod_is_refused_by_policy_alone(cluster: Cluster, bare: str, what: str):
    path, value, words = HAND_MADE[what]
    ask(cluster, good(bare))
    told = refused(cluster, changed(bare, path, value))
    assert f"{RELEASE}-zone-pods" in told
    assert words in told


def test_the_hub_makes_workspaces_and_the_controller_importers(cluster: Cluster, zone: ZoneSpec):
    workspace, importer = good(zone.namespace), importer_pod(zone, a_delivery(), POD_SETTINGS)
    for pod, maker, other in ((workspace, "hub", "controller"), (importer, "controller", "hub")):
        ask(cluster, pod, as_account(maker))
        assert "the hub makes workspaces" in refused(cluster, pod, as_account(other))


@pytest.mark.parametrize(
    "asked",
    [
        {"user_namespace": True},
        {"user_namespace": False, "gpus": {"nvidia.com/gpu": 2}, "node_selector": {"pool": "gpu"}},
    ],
)
def test_what_the_builder_makes_is_taken(cluster: Cluster, bare: str, asked: dict):
    pod = workspace_pod(a_plan(cluster={"namespace": bare, **asked}), POD_SETTINGS, {}, now=NOW)
    pod["metadata"]["labels"]["broch.dev/project"] = bare.removeprefix("zone-")
    ask(cluster, pod)


def test_the_controller_keeps_volumes_of_zones_and_touches_no_others(cluster: Cluster, zone: ZoneSpec):
    keep = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    for namespace, allowed in ((zone.namespace, True), ("default", False)):
        name = f"kept-{secrets.token_hex(4)}"
        volume = named("PersistentVolume", name)
        volume["spec"] = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "claimRef": {"name": "home-x", "namespace": namespace},
            "hostPath": {"path": "/srv/kept"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "kept",
        }
        cluster.apply(volume)
        words = ("patch", "pv", name, "--patch", keep, "--dry-run=server", *as_account("controller"))
        try:
            if allowed:
                cluster.kubectl(*words)
            else:
                with pytest.raises(Refused, match="only keeps those of zones"):
                    cluster.kubectl(*words)
            with pytest.raises(Refused, match="only keeps those of zones"):
                cluster.kubectl("delete", "pv", name, "--dry-run=server", *as_account("controller"))
        finally:
            cluster.delete("pv", name, wait=False)


def test_a_pod_of_a_zone_meets_pod_security_and_quota_besides(cluster: Cluster, zone: ZoneSpec):
    ask(cluster, good(zone.namespace))
    assert "PodSecurity" in refused(cluster, changed(zone.namespace, "spec/hostNetwork", value=True))
    pod = changed(zone.namespace, "spec/containers/0/resources/requests/cpu", "900")
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "900"
    assert "maximum cpu usage" in refused(cluster, pod)
    device = changed(zone.namespace, "spec/containers/0/resources/limits/nvidia.com~gpu", "1")
    assert "exceeded quota: zone" in refused(cluster, device)


@pytest.mark.parametrize(
    "call", ["exec?command=id&stdout=true", "attach?stdout=true", "portforward?ports=8888"]
)
def test_nobody_reaches_into_a_zone_but_for_an_emergency(cluster: Cluster, bare: str, call: str):
    def reach(*groups: str) -> str:
        who = ["--as=somebody", *(f"--as-group={group}" for group in ("system:masters", *groups))]
        path = f"/api/v1/namespaces/{bare}/pods/nobody/{call}"
        with pytest.raises(Refused) as problem:
            cluster.kubectl("create", "--raw", path, "--filename=/dev/null", *who)
        return str(problem.value)

    assert "nobody reaches into a zone" in reach()
    assert "not found" in reach("broch:break-glass")


def test_a_running_pod_gets_no_container_beside_it(cluster: Cluster, bare: str, policies: None):
    change = json.dumps({"spec": {"ephemeralContainers": [{"name": "debug", "image": "x"}]}})
    words = ("patch", "pod", _POD["metadata"]["name"], "--subresource=ephemeralcontainers", "--patch", change)
    with cluster.namespace(name=f"zone-{secrets.token_hex(13)}") as plain:
        for namespace in (bare, plain):
            cluster.apply(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "workspace"}},
                namespace=namespace,
            )
            pod = good(namespace)
            cluster.kubectl("create", "--filename=-", stdin=json.dumps(pod))
        cluster.kubectl(*words, "--namespace", plain)
        with pytest.raises(Refused, match="no ephemeral containers"):
            cluster.kubectl(*words, "--namespace", bare)
        pod = f"pod/{_POD['metadata']['name']}"
        with pytest.raises(Refused, match="registry"):
            cluster.kubectl("set", "image", pod, "notebook=docker.io/evil/python:1", "--namespace", bare)


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_a_zone_has_no_service(cluster: Cluster, bare: str, kind: str):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {"type": kind, "ports": [{"port": 80}], "selector": {"a": "b"}},
    }
    ask(cluster, service)
    service["metadata"]["namespace"] = bare
    assert "a zone has no services" in refused(cluster, service)


def test_a_zone_has_no_ingress(cluster: Cluster, bare: str):
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "i", "namespace": "default"},
        "spec": {"defaultBackend": backend},
    }
    ask(cluster, ingress)
    ingress["metadata"]["namespace"] = bare
    assert "a zone has no services" in refused(cluster, ingress)


def named(kind: str, name: str, namespace: str = "", **body: object) -> dict:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **body}


def test_the_controller_writes_nowhere_but_in_zones(cluster: Cluster, zone: ZoneSpec):
    who = as_account("controller")
    ask(cluster, named("ConfigMap", "x", zone.namespace), who)
    for namespace in ("default", "kube-system", NAMESPACE):
        assert "writes in zones alone" in refused(cluster, named("ConfigMap", "x", namespace), who)


def test_the_controllers_namespaces_are_zones_and_stay_restricted(cluster: Cluster, zone: ZoneSpec):
    who = as_account("controller")
    namespace = zone_manifests(a_zone(), ZONES)[0]
    ask(cluster, namespace, who)
    for label in ("broch.dev/role", "app.kubernetes.io/part-of", "pod-security.kubernetes.io/enforce"):
        other = copy.deepcopy(namespace)
        del other["metadata"]["labels"][label]
        assert "stay restricted" in refused(cluster, other, who)
    other = copy.deepcopy(namespace)
    other["metadata"]["name"] = "kube-extra"
    assert "stay restricted" in refused(cluster, other, who)
    with pytest.raises(Refused, match="stay restricted"):
        cluster.kubectl("delete", "namespace", NAMESPACE, "--dry-run=server", *who)
    with pytest.raises(Refused, match="stay restricted"):
        cluster.kubectl("label", "namespace", zone.namespace, "broch.dev/role-", "--dry-run=server", *who)


def test_the_controller_gives_the_hubs_right_to_the_hub_alone(cluster: Cluster, zone: ZoneSpec):
    who = as_account("controller")
    binding = next(one for one in zone_manifests(zone, ZONES) if one["kind"] == "RoleBinding")
    binding = {**binding, "metadata": {**binding["metadata"], "name": "another"}}
    ask(cluster, binding, who)
    subject = {"kind": "ServiceAccount", "name": "workspace", "namespace": zone.namespace}
    assert "to the hub" in refused(cluster, {**binding, "subjects": [subject]}, who)
    role = {**binding["roleRef"], "name": "cluster-admin"}
    assert refused(cluster, {**binding, "roleRef": role}, who)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec/hostPath/path", "/etc", "registered sources"),
        ("spec/hostPath/path", "/srv/datasets-of-others/x", "registered sources"),
        ("spec/accessModes", ["ReadWriteMany"], "read-only, kept"),
        ("spec/persistentVolumeReclaimPolicy", "Delete", "read-only, kept"),
        ("spec/claimRef/namespace", "default", "read-only, kept"),
        ("metadata/name", "another-volume", "only keeps those of zones"),
    ],
)
def test_the_controllers_volumes_are_read_only_and_of_registered_sources(
    cluster: Cluster, zone: ZoneSpec, path: str, value: object, words: str
):
    who = as_account("controller")
    volume = next(one for one in zone_manifests(a_zone(), ZONES) if one["kind"] == "PersistentVolume")
    ask(cluster, volume, who)
    assert words in refused(cluster, put(volume, path, value), who)


@pytest.mark.parametrize("kind", sorted(UPWARDS))
def test_no_volume_of_the_controller_leads_elsewhere(cluster: Cluster, zone: ZoneSpec, kind: str):
    who = as_account("controller")
    spec = a_zone(data=(a_volume(source=kind),))
    volume = next(one for one in zone_manifests(spec, ZONES) if one["kind"] == "PersistentVolume")
    ask(cluster, volume, who)
    assert "do not lead upwards" in refused(cluster, put(volume, *UPWARDS[kind]), who)
    for other in otherwise(volume):
        assert "mounted as Broch mounts them" in refused(cluster, other, who)


def test_another_projects_claim_of_a_volume_stays_pending(cluster: Cluster, zone: ZoneSpec, bare: str):
    name = data_volume_name(zone.project_id, VERSION)
    claims = {"own": zone.namespace, "other": bare}
    manifest = next(
        one
        for one in zone_manifests(zone, ZONES)
        if one["kind"] == "PersistentVolumeClaim" and one["spec"].get("volumeName") == name
    )
    other = {**manifest, "metadata": {"name": manifest["metadata"]["name"], "namespace": claims["other"]}}
    cluster.apply(other)
    cluster.wait("jsonpath={.status.phase}=Bound", f"pvc/{manifest['metadata']['name']}", claims["own"])
    with pytest.raises(Refused):
        cluster.wait(
            "jsonpath={.status.phase}=Bound", f"pvc/{manifest['metadata']['name']}", claims["other"], 5
        )
    assert cluster.get("pvc", manifest["metadata"]["name"], claims["other"])["status"]["phase"] == "Pending"
