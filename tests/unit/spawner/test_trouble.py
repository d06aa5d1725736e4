"""What the state of a pod means for the person who waits for it: a table of what Kubernetes really says."""

import pytest

from broch_spawner.inside.lab import CANNOT_SHARE, NO_CERTIFICATE, OUT_OF_MEMORY
from broch_spawner.trouble import address_of, ended, explain, is_fetching, is_running

IMAGE = "registry.example.org/broch/workspace-python:1@sha256:" + "a" * 64


def pod(state=None, phase="Pending", **status):
    containers = [{"name": "notebook", "state": state}] if state is not None else []
    limits = {"limits": {"memory": str(4 << 30)}}
    return {
        "metadata": {"name": "ws-x", "uid": "u"},
        "spec": {"containers": [{"name": "notebook", "image": IMAGE, "resources": limits}]},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def waiting(reason):
    return pod({"waiting": {"reason": reason, "message": "rpc error: registry.example.org"}})


def unscheduled(message):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[condition])


def event(reason, message=""):
    return {"reason": reason, "message": message}


@pytest.mark.parametrize(
    ("seen", "kind", "said"),
    [
        (
            waiting("ErrImagePull"),
            "image",
            "The image of this workspace (workspace-python:1) cannot be fetched",
        ),
        (waiting("ImagePullBackOff"), "image", "cannot be fetched"),
        (waiting("ErrImageNeverPull"), "image", "cannot be fetched"),
        (waiting("InvalidImageName"), "image", "cannot be fetched"),
        (waiting("CreateContainerConfigError"), "container", "cannot be made"),
        (waiting("CreateContainerError"), "container", "cannot be made"),
        (
            unscheduled(
                '0/1 nodes are available: persistentvolumeclaim "home-01abc" not found. preemption: 0/1'
            ),
            "volume",
            "The folder for your home is missing",
        ),
        (unscheduled('persistentvolumeclaim "data-01abc" not found'), "volume", "A dataset is missing"),
        (
            unscheduled('persistentvolumeclaim "project" is being deleted'),
            "volume",
            "The project's shared folder",
        ),
        (
            unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
            "volume",
            "not ready yet",
        ),
        (unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), "node", "free GPU"),
        (
            unscheduled("0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory."),
            "node",
            "has room",
        ),
        (
            unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}."),
            "node",
            "takes this kind",
        ),
    ],
)
def test_what_keeps_a_start_is_said_in_plain_words(seen, kind, said):
    trouble = explain(seen)
    assert trouble is not None
    assert trouble.kind == kind
    assert said in trouble.text
    assert "registry.example.org" not in trouble.text
    assert "01abc" not in trouble.text


def held_back(gate):
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }
    seen = pod(conditions=[condition])
    return seen | {"spec": seen["spec"] | {"schedulingGates": [{"name": gate}]}}


def test_a_pod_that_kueue_holds_back_waits_in_the_queue_and_no_other_does():
    for gate in ("kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology"):
        trouble = explain(held_back(gate))
        assert trouble is not None
        assert trouble.kind == "queue"
        assert trouble.text.startswith("It waits in the queue for a GPU.")
    other = explain(held_back("example.org/gate"))
    assert other is not None
    assert other.kind == "node"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            'MountVolume.SetUp failed for volume "data-01abc" : hostPath type check failed',
            "A dataset cannot be mounted",
        ),
        (
            "Unable to attach or mount volumes: unmounted volumes=[imports], unattached volumes=[]",
            "The folder of imports",
        ),
        ('MountVolume.SetUp failed for volume "pvc-93a" : mount failed', "A folder of this workspace cannot"),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_named_by_what_it_is(message, said):
    trouble = explain(waiting("ContainerCreating"), [event("Scheduled"), event("FailedMount", message)])
    assert trouble is not None
    assert trouble.kind == "volume"
    assert said in trouble.text


def test_a_mount_that_failed_once_and_then_went_on_is_no_trouble():
    events = [event("FailedMount", 'volume "data-1"'), event("Pulled"), event("Created")]
    assert explain(waiting("ContainerCreating"), events) is None
    assert explain(waiting("ContainerCreating"), events[:1]) is not None


@pytest.mark.parametrize(
    "seen",
    [pod(), waiting("ContainerCreating"), waiting("PodInitializing"), pod({"running": {}}, phase="Running")],
)
def test_what_goes_its_way_is_no_trouble(seen):
    assert explain(seen) is None
    assert ended(seen) is None


def test_a_running_pod_has_no_trouble_whatever_its_events_say():
    assert explain(pod({"running": {}}), [event("FailedMount", 'volume "data-1"')]) is None


def over(code, reason="Error"):
    return {"terminated": {"exitCode": code, "reason": reason, "message": "<script>from inside</script>"}}


@pytest.mark.parametrize(
    ("seen", "said", "failed"),
    [
        (pod(over(137, "OOMKilled"), phase="Failed"), "ran out of memory: it may use 4 GiB", True),
        (pod(over(OUT_OF_MEMORY), phase="Failed"), "ran out of memory: it may use 4 GiB", True),
        (pod(over(137), phase="Failed"), "ended unexpectedly (exit status 137)", True),
        (pod(over(CANNOT_SHARE), phase="Failed"), "cannot share notebooks", True),
        (pod(over(NO_CERTIFICATE), phase="Failed"), "does not fit this version", True),
        (pod(phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "home" exceeds the limit "1Gi". '),
         "its own folder was full", True),
        (pod(over(1), phase="Failed"), "ended unexpectedly (exit status 1)", True),
        (pod(over(0, "Completed"), phase="Succeeded"), "ended by itself", False),
        (pod(over(143), phase="Failed", reason="DeadlineExceeded"), "The time for this workspace is over.", False),
        (pod(phase="Failed", reason="DeadlineExceeded"), "The time for this workspace is over.", False),
        (pod(phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". '),
         "/tmp was full", True),
        (pod(phase="Failed", reason="Evicted",
             message="Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
         "wrote too much outside", True),
        (pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory. Threshold"),
         "short of memory", True),
        (pod(phase="Failed", reason="OutOfcpu"), "no room for it after all", True),
        (pod(over(137), phase="Failed", reason="Terminated"), "needed or shut down", True),
    ],
)  # fmt: skip
def test_what_a_workspace_ended_with_is_said_in_plain_words(seen, said, failed):
    found = ended(seen)
    assert found is not None
    assert said in found.text
    assert found.failed is failed
    assert "script" not in found.text


def test_a_pod_that_somebody_deletes_was_stopped_and_did_not_fail():
    seen = pod(over(137), phase="Failed")
    seen["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = ended(seen)
    assert found is not None
    assert not found.failed


def test_another_container_of_a_pod_says_nothing():
    seen = pod()
    seen["status"]["containerStatuses"] = [{"name": "debugger", "state": over(1)}]
    assert ended(seen) is None


def test_what_is_read_of_a_pod():
    assert is_running(pod({"running": {}}))
    assert not is_running(waiting("ContainerCreating"))
    assert address_of(pod(podIP="10.1.2.3")) == "10.1.2.3"
    assert address_of(pod()) is None
    assert is_fetching([event("Scheduled"), event("Pulling")])
    assert not is_fetching([event("Pulling"), event("Pulled")])
