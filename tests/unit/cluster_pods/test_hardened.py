"""Every pod that is built passes the last look, and every single dangerous change of one is refused."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broch_workspaces.cluster.hardened import NotHardened, Rules, assert_hardened
from broch_workspaces.cluster.pods import importer_pod, workspace_pod
from support.counts import count
from support.zones import (
    DIGEST,
    NOW,
    POD_SETTINGS,
    a_delivery,
    a_plan,
    hub_environments,
    names,
    plans,
    zones,
)

TRIES = count("random workspace pods meet assert_hardened", ci=2_000, nightly=100_000)
IMPORTERS = count("random importer pods meet assert_hardened", ci=300, nightly=5_000)
QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.mark.timeout(7200)  # 100,000 of them take a while, by night
@settings(max_examples=TRIES, deadline=None, suppress_health_check=QUIET)
@given(plan=plans(), env=hub_environments, args=st.lists(st.text("a$(){}=- ", max_size=20), max_size=3))
def test_every_workspace_pod_is_hardened(plan, env, args):
    pod = workspace_pod(plan, POD_SETTINGS, env, args=args, now=NOW)
    assert_hardened(pod, Rules.for_workspace(plan, POD_SETTINGS))


@settings(max_examples=IMPORTERS, deadline=None)
@given(zone=zones(), name=names, mapped=st.booleans())
def test_every_importer_pod_is_hardened(zone, name, mapped):
    chosen = POD_SETTINGS.model_copy(update={"importer_user_namespace": mapped})
    pod = importer_pod(zone, a_delivery(name=name), chosen, attempt=3)
    assert_hardened(pod, Rules.for_importer(zone, chosen))


PLAN = a_plan()
GOOD = workspace_pod(PLAN, POD_SETTINGS, {"JUPYTERHUB_API_TOKEN": "t"}, now=NOW)
RULES = Rules.for_workspace(PLAN, POD_SETTINGS)


REMOVED = object()
C = "spec/containers/0"
MOUNTS = {one["mountPath"]: n for n, one in enumerate(GOOD["spec"]["containers"][0]["volumeMounts"])}
VOLUMES = {one["name"]: n for n, one in enumerate(GOOD["spec"]["volumes"])}
DATA = f"{C}/volumeMounts/{MOUNTS['/data/heart']}"
DATA_VOLUME = (
    f"spec/volumes/{VOLUMES[GOOD['spec']['containers'][0]['volumeMounts'][MOUNTS['/data/heart']]['name']]}"
)
ENV = {one["name"]: n for n, one in enumerate(GOOD["spec"]["containers"][0]["env"])}
TOKEN = f"spec/volumes/{VOLUMES['identity']}/projected/sources"

MUTATIONS = {
    "host network": ("spec/hostNetwork", True),
    "host processes": ("spec/hostPID", True),
    "host IPC": ("spec/hostIPC", True),
    "the host's users": ("spec/hostUsers", True),
    "no user namespace": ("spec/hostUsers", REMOVED),
    "shared processes": ("spec/shareProcessNamespace", True),
    "another account": ("spec/serviceAccountName", "default"),
    "the old field of the account": ("spec/serviceAccount", "default"),
    "no account": ("spec/serviceAccountName", REMOVED),
    "a token of the API server": ("spec/automountServiceAccountToken", True),
    "the default about tokens": ("spec/automountServiceAccountToken", REMOVED),
    "one for true": ("spec/containers/0/securityContext/runAsNonRoot", 1),
    "cluster DNS": ("spec/dnsPolicy", "ClusterFirst"),
    "a resolver": ("spec/dnsConfig", {"nameservers": ["8.8.8.8"]}),
    "search domains": ("spec/dnsConfig", {"nameservers": ["127.0.0.1"], "searches": ["x.example"]}),
    "another gateway": ("spec/hostAliases/0/ip", "10.0.0.1"),
    "a further name": (
        "spec/hostAliases",
        [*GOOD["spec"]["hostAliases"], {"ip": "10.0.0.1", "hostnames": ["a"]}],
    ),
    "service links": ("spec/enableServiceLinks", True),
    "no deadline": ("spec/activeDeadlineSeconds", REMOVED),
    "a deadline beyond the longest": ("spec/activeDeadlineSeconds", 10**6),
    "no deadline at all": ("spec/activeDeadlineSeconds", None),
    "a restart": ("spec/restartPolicy", "Always"),
    "a long end": ("spec/terminationGracePeriodSeconds", 3600),
    "a node by name": ("spec/nodeName", "node-1"),
    "a node by selector": ("spec/nodeSelector", {"pool": "control-plane"}),
    "an affinity": ("spec/affinity", {}),
    "a toleration": ("spec/tolerations", [{"operator": "Exists"}]),
    "a priority": ("spec/priorityClassName", "system-node-critical"),
    "another scheduler": ("spec/schedulerName", "mine"),
    "a pull secret": ("spec/imagePullSecrets", [{"name": "x"}]),
    "a runtime class": ("spec/runtimeClassName", "none"),
    "an init container": ("spec/initContainers", [GOOD["spec"]["containers"][0]]),
    "an ephemeral container": ("spec/ephemeralContainers", []),
    "a second container": ("spec/containers", GOOD["spec"]["containers"] * 2),
    "no container": ("spec/containers", []),
    "root": ("spec/securityContext/runAsUser", 0),
    "root's group": ("spec/securityContext/runAsGroup", 0),
    "root's files": ("spec/securityContext/fsGroup", 0),
    "further groups": ("spec/securityContext/supplementalGroups", [0]),
    "sysctls": ("spec/securityContext/sysctls", [{"name": "kernel.shm_rmid_forced", "value": "1"}]),
    "no seccomp": ("spec/securityContext/seccompProfile", {"type": "Unconfined"}),
    "seccomp by default": ("spec/securityContext/seccompProfile", REMOVED),
    "no AppArmor": ("spec/securityContext/appArmorProfile", {"type": "Unconfined"}),
    "root in the container": (f"{C}/securityContext/runAsUser", 0),
    "privileged": (f"{C}/securityContext/privileged", True),
    "escalation": (f"{C}/securityContext/allowPrivilegeEscalation", True),
    "escalation by default": (f"{C}/securityContext/allowPrivilegeEscalation", REMOVED),
    "a capability": (f"{C}/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_RAW"]}),
    "capabilities by default": (f"{C}/securityContext/capabilities", {"drop": []}),
    "a writable root": (f"{C}/securityContext/readOnlyRootFilesystem", False),
    "unmasked /proc": (f"{C}/securityContext/procMount", "Unmasked"),
    "an image by tag": (f"{C}/image", "registry.example.org/broch/workspace-python:1"),
    "an image from elsewhere": (f"{C}/image", f"evil.example.org/broch/python@{DIGEST}"),
    "an image whose registry only begins alike": (
        f"{C}/image",
        f"registry.example.org.evil/broch/p@{DIGEST}",
    ),
    "an image above the prefix": (f"{C}/image", f"registry.example.org/broch/../evil@{DIGEST}"),
    "an image by another digest": (f"{C}/image", "registry.example.org/broch/p@sha256:abc"),
    "another command": (f"{C}/command", ["/bin/sh", "-c", "id"]),
    "an argument that refers to a variable": (f"{C}/args", ["$(JUPYTERHUB_API_TOKEN)"]),
    "a hook": (f"{C}/lifecycle", {"postStart": {"exec": {"command": ["id"]}}}),
    "a probe that runs something": (f"{C}/livenessProbe", {"exec": {"command": ["id"]}}),
    "a port of the host": (f"{C}/ports/0/hostPort", 8888),
    "a raw device": (f"{C}/volumeDevices", [{"name": "d", "devicePath": "/dev/sda"}]),
    "a terminal": (f"{C}/stdin", True),
    "variables from a secret": (f"{C}/envFrom", [{"secretRef": {"name": "x"}}]),
    "a variable from a secret": (
        f"{C}/env/0",
        {"name": "BROCH_X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}},
    ),
    "a library to load": (f"{C}/env/0", {"name": "LD_PRELOAD", "value": "/home/researcher/x.so"}),
    "a path of Python": (f"{C}/env/0", {"name": "PYTHONPATH", "value": "/home/researcher"}),
    "a driver's variable": (f"{C}/env/0", {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "all"}),
    "all devices": (f"{C}/env/{ENV['NVIDIA_VISIBLE_DEVICES']}/value", "all"),
    "the default about devices": (f"{C}/env/{ENV['NVIDIA_VISIBLE_DEVICES']}", REMOVED),
    "a reference in a variable": (f"{C}/env/{ENV['BROCH_PROJECT']}/value", "$$$(JUPYTERHUB_API_TOKEN)"),
    "another authority": (f"{C}/env/{ENV['SSL_CERT_FILE']}/value", "/home/researcher/ca"),
    "a variable twice": (f"{C}/env/0", {"name": "HOME", "value": "/"}),
    "a device that was not granted": (f"{C}/resources/limits/nvidia.com~gpu", "1"),
    "no limits": (f"{C}/resources/limits", REMOVED),
    "no limit of memory": (f"{C}/resources/limits/memory", REMOVED),
    "no limit of disk": (f"{C}/resources/limits/ephemeral-storage", REMOVED),
    "claims of devices": ("spec/resourceClaims", [{"name": "gpu"}]),
    "writable data": (f"{DATA}/readOnly", REMOVED),
    "data writable below": (f"{DATA}/recursiveReadOnly", REMOVED),
    "data writable below if the node likes": (f"{DATA}/recursiveReadOnly", "IfPossible"),
    "a part of the data": (f"{DATA}/subPath", "a"),
    "a part by a variable": (f"{DATA}/subPathExpr", "$(HOME)"),
    "mounts passed on": (f"{DATA}/mountPropagation", "Bidirectional"),
    "data elsewhere": (f"{DATA}/mountPath", "/opt/venv"),
    "data below another mount": (f"{DATA}/mountPath", "/project/data"),
    "a writable claim of data": (f"{DATA_VOLUME}/persistentVolumeClaim/readOnly", REMOVED),
    "another claim": (f"{DATA_VOLUME}/persistentVolumeClaim/claimName", "home-somebody-else"),
    "a folder of the host": (
        DATA_VOLUME,
        {
            "name": GOOD["spec"]["volumes"][int(DATA_VOLUME.rsplit("/", maxsplit=1)[-1])]["name"],
            "hostPath": {"path": "/"},
        },
    ),
    "a volume of two kinds": (f"{DATA_VOLUME}/hostPath", {"path": "/"}),
    "NFS inline": (DATA_VOLUME, {"name": "n", "nfs": {"server": "a", "path": "/"}}),
    "a CSI volume inline": (DATA_VOLUME, {"name": "n", "csi": {"driver": "x"}}),
    "a secret": (f"spec/volumes/{VOLUMES['broch-ca']}", {"name": "broch-ca", "secret": {"secretName": "x"}}),
    "another config map": (f"spec/volumes/{VOLUMES['broch-ca']}/configMap/name", "kube-root-ca.crt"),
    "a volume that nobody mounts": (
        "spec/volumes",
        [*GOOD["spec"]["volumes"], {"name": "x", "emptyDir": {"sizeLimit": "1"}}],
    ),
    "an unbounded folder": (f"spec/volumes/{VOLUMES['tmp']}/emptyDir", {}),
    "a token for the API server": (
        f"{TOKEN}/0/serviceAccountToken/audience",
        "https://kubernetes.default.svc",
    ),
    "a token of no audience": (f"{TOKEN}/0/serviceAccountToken/audience", REMOVED),
    "a token for a year": (f"{TOKEN}/0/serviceAccountToken/expirationSeconds", 31_536_000),
    "a second token": (
        TOKEN,
        [{"serviceAccountToken": {"path": "a"}}, {"serviceAccountToken": {"path": "b"}}],
    ),
    "another namespace": ("metadata/namespace", "broch"),
    "another project's label": ("metadata/labels/broch.dev~project", "other"),
    "another role": ("metadata/labels/broch.dev~role", "importer"),
    "a label more": ("metadata/labels/app", "hub"),
    "an annotation": (
        "metadata/annotations",
        {"container.apparmor.security.beta.kubernetes.io/n": "unconfined"},
    ),
    "an owner": ("metadata/ownerReferences", []),
    "another kind": ("kind", "Deployment"),
}


def mutated(name):
    """Return the good pod with one thing changed; in a path, `~` stands for the slash of a key."""
    pod = copy.deepcopy(GOOD)
    path, value = MUTATIONS[name]
    *parents, last = (int(part) if part.isdigit() else part.replace("~", "/") for part in path.split("/"))
    place = pod
    for part in parents:
        place = place[part]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)
    return pod


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_one_dangerous_change_of_a_good_pod_is_refused(name):
    assert_hardened(GOOD, RULES)
    with pytest.raises(NotHardened) as refused:
        assert_hardened(mutated(name), RULES)
    assert refused.value.reasons


def test_a_plan_that_would_write_to_data_is_refused_whatever_the_builder_made_of_it():
    mount = PLAN.mounts[0]
    plan = a_plan(mounts=(mount.model_copy(update={"read_only": False}),))
    with pytest.raises(NotHardened, match="/data/heart"):
        assert_hardened(
            workspace_pod(plan, POD_SETTINGS, {}, now=NOW), Rules.for_workspace(plan, POD_SETTINGS)
        )


@pytest.mark.parametrize("target", ["/opt/venv", "/etc", "/home/researcher/data", "/tmp/x", "/run", "/data"])
def test_a_plan_that_shows_a_claim_elsewhere_is_refused(target):
    plan = a_plan(mounts=(PLAN.mounts[0].model_copy(update={"target": target}),))
    with pytest.raises(NotHardened):
        assert_hardened(
            workspace_pod(plan, POD_SETTINGS, {}, now=NOW), Rules.for_workspace(plan, POD_SETTINGS)
        )


def test_a_pod_that_lacks_what_the_plan_gives_is_refused():
    plan = a_plan(mounts=(*PLAN.mounts, PLAN.mounts[0].model_copy(update={"target": "/data/lungs"})))
    with pytest.raises(NotHardened, match="/data/lungs is not mounted"):
        assert_hardened(GOOD, Rules.for_workspace(plan, POD_SETTINGS))


@pytest.mark.parametrize("gpus", [{}, {"nvidia.com/gpu": 1}])
def test_a_workspace_has_the_priority_of_its_kind_and_no_other(gpus):
    settings = POD_SETTINGS.model_copy(update={"priority_classes": True})
    plan = a_plan(cluster={"gpus": gpus})
    pod, rules = workspace_pod(plan, settings, {}, now=NOW), Rules.for_workspace(plan, settings)
    assert_hardened(pod, rules)
    mine = pod["spec"]["priorityClassName"]
    assert mine == f"{settings.release}-workspace-{'gpu' if gpus else 'interactive'}"
    for other in ("system-node-critical", "broch-workspace-interactive", "broch-workspace-gpu"):
        if other != mine:
            with pytest.raises(NotHardened, match="priorityClassName"):
                assert_hardened(pod | {"spec": pod["spec"] | {"priorityClassName": other}}, rules)
    with pytest.raises(NotHardened, match="priorityClassName"):
        assert_hardened(pod, Rules.for_workspace(plan, POD_SETTINGS))


QUEUED = POD_SETTINGS.model_copy(update={"gpu_queue": True})
FOR_A_GPU = a_plan(cluster={"gpus": {"nvidia.com/gpu": 1}})


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("labels", {"kueue.x-k8s.io/queue-name": "another"}),
        ("labels", {"kueue.x-k8s.io/queue-name": None}),
        ("labels", {"kueue.x-k8s.io/priority-class": "first"}),
        ("labels", {"kueue.x-k8s.io/managed": "true"}),
        ("labels", {"kueue.x-k8s.io/pod-group-name": "x"}),
        ("metadata", {"finalizers": ["kueue.x-k8s.io/managed"]}),
        ("spec", {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}),
    ],
)
def test_of_a_queue_nothing_is_sent_but_its_name(place, change):
    pod, rules = workspace_pod(FOR_A_GPU, QUEUED, {}, now=NOW), Rules.for_workspace(FOR_A_GPU, QUEUED)
    assert_hardened(pod, rules)
    changed = copy.deepcopy(pod)
    part = {
        "labels": changed["metadata"]["labels"],
        "metadata": changed["metadata"],
        "spec": changed["spec"],
    }[place]
    part |= change
    for name in [name for name, value in part.items() if value is None]:
        del part[name]
    with pytest.raises(NotHardened):
        assert_hardened(changed, rules)


def test_a_pod_for_a_queue_is_refused_where_there_is_none_and_without_devices():
    pod = workspace_pod(FOR_A_GPU, QUEUED, {}, now=NOW)
    with pytest.raises(NotHardened, match="queue-name"):
        assert_hardened(pod, Rules.for_workspace(FOR_A_GPU, POD_SETTINGS))
    plain = copy.deepcopy(GOOD)
    plain["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpu"
    with pytest.raises(NotHardened, match="queue-name"):
        assert_hardened(plain, Rules.for_workspace(PLAN, QUEUED))


@pytest.mark.parametrize("junk", [None, [], "pod", 1, {}, {"spec": None}])
def test_what_is_no_pod_is_refused(junk):
    with pytest.raises(NotHardened):
        assert_hardened(junk, RULES)


TOGETHER = a_plan(home=None, shared=True)
SHARED_POD = workspace_pod(TOGETHER, POD_SETTINGS, {}, now=NOW)
SHARED_RULES = Rules.for_workspace(TOGETHER, POD_SETTINGS)


def _home(pod):
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    return next(one for one in mounts if one["mountPath"] == "/home/researcher")


def _somebody_s_home(pod):
    volume = next(one for one in pod["spec"]["volumes"] if one["name"] == _home(pod)["name"])
    del volume["emptyDir"]
    volume["persistentVolumeClaim"] = {"claimName": "home-somebody"}


def _no_home(pod):
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    pod["spec"]["volumes"] = [one for one in pod["spec"]["volumes"] if one["name"] != _home(pod)["name"]]
    mounts.remove(_home(pod))


def _as_a_person_s(pod):
    variables = pod["spec"]["containers"][0]["env"]
    variables[:] = [one for one in variables if one["name"] != "BROCH_SHARED"]


@pytest.mark.parametrize("change", [_somebody_s_home, _no_home, _as_a_person_s])
def test_a_shared_pod_is_nothing_but_that(change):
    assert_hardened(SHARED_POD, SHARED_RULES)
    bent = copy.deepcopy(SHARED_POD)
    change(bent)
    with pytest.raises(NotHardened):
        assert_hardened(bent, SHARED_RULES)


def test_neither_kind_of_workspace_passes_for_the_other():
    for pod, rules in ((SHARED_POD, RULES), (GOOD, SHARED_RULES)):
        with pytest.raises(NotHardened):
            assert_hardened(pod, rules)
