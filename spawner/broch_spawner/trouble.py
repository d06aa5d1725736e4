"""What the state of a workspace's pod means for the person who waits for it or works in it. Pure.

Nothing that comes from inside a pod is said again here, and no name of the cluster's insides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from broch_spawner.inside.lab import CANNOT_SHARE, NO_CERTIFICATE, OUT_OF_MEMORY
from broch_spawner.planned import TIME_IS_OVER, WAS_STOPPED
from broch_spawner.refusals import amount, in_bytes

Pod = Mapping[str, Any]
Kind = Literal["image", "volume", "node", "container", "queue"]

_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_NODE_ENDED = frozenset(
    {"Preempting", "PreemptionByScheduler", "NodeShutdown", "Shutdown", "Terminated", "NodeLost"}
)
_OF_IMAGE = {
    CANNOT_SHARE: "The image of this profile cannot share notebooks. Choose another profile, with Python.",
    NO_CERTIFICATE: "The image of this profile does not fit this version of Broch. Tell your administrator.",
}
"""What our own exit statuses say."""
_KUEUE = "kueue.x-k8s.io/"
_NO_ROOM = re.compile(r"Insufficient ([A-Za-z0-9./-]+)")
_CLAIM = re.compile(r'persistentvolumeclaim "([a-z0-9.-]{1,253})" (not found|is being deleted)')
_VOLUME = re.compile(r'volume(?:s)? "([A-Za-z0-9.-]{1,253})"|unmounted volumes=\[([A-Za-z0-9.-]{1,253})')
ADMIN = "Tell your administrator"


@dataclass(frozen=True)
class Trouble:
    """Why a start does not get on."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Ended:
    """What a pod ended with."""

    code: int
    text: str
    failed: bool
    """Whether that was not meant: neither stopped, nor its time over, nor done by itself."""


def _notebook(pod: Pod) -> Mapping[str, Any]:
    """Return the state of the container: `waiting`, `running` or `terminated`."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == "notebook":
            state: Mapping[str, Any] = status.get("state") or {}
            return state
    return {}


def is_running(pod: Pod) -> bool:
    """Tell whether the server inside has been started."""
    return "running" in _notebook(pod)


def address_of(pod: Pod) -> str | None:
    """Return the pod's address, once it has one."""
    address = pod.get("status", {}).get("podIP")
    return address if isinstance(address, str) and address else None


def _memory(pod: Pod) -> str:
    try:
        return in_bytes(amount(pod["spec"]["containers"][0]["resources"]["limits"]["memory"]))
    except (KeyError, IndexError, ValueError):
        return "its share"


def ended(pod: Pod) -> Ended | None:
    """Return what a pod ended with; None: it has not."""
    over = _notebook(pod).get("terminated")
    if over is None and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded"):
        return None
    code = int((over or {}).get("exitCode", 1))
    meant = _meant(pod, code)
    return Ended(code, meant or _not_meant(pod, over or {}, code), failed=meant is None)


def _meant(pod: Pod, code: int) -> str | None:
    if pod["status"].get("reason") == "DeadlineExceeded":
        return TIME_IS_OVER
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return WAS_STOPPED
    clean = code == 0 and not pod["status"].get("reason")
    return "The workspace ended by itself." if clean else None


def _not_meant(pod: Pod, over: Mapping[str, Any], code: int) -> str:
    reason = pod["status"].get("reason") or ""
    if reason == "Evicted":
        return _eviction(pod["status"].get("message") or "", pod)
    if over.get("reason") == "OOMKilled" or code == OUT_OF_MEMORY:
        return (
            f"The workspace ran out of memory: it may use {_memory(pod)}, and the system ended it. Saved files are "
            "kept. Open it again and load less at once, or choose a larger profile."
        )
    if code in _OF_IMAGE:
        return _OF_IMAGE[code]
    if reason in _NODE_ENDED:
        return "The computer it ran on was needed or shut down. Open it again."
    if reason.startswith("OutOf") or reason in ("UnexpectedAdmissionError", "NodeAffinity"):
        return "There was no room for it after all. Open it again."
    return f"The workspace ended unexpectedly (exit status {code}). Open it again."


def _eviction(message: str, pod: Pod) -> str:
    if 'volume "tmp"' in message:
        return "The workspace was ended because /tmp was full. Saved files in your home are kept."
    if 'volume "home"' in message:
        return "The shared workspace was ended because its own folder was full. What is in /project is kept."
    if 'volume "shm"' in message:
        return "The workspace was ended because /dev/shm was full. Saved files in your home are kept."
    if "ephemeral" in message and "limit" in message:
        return (
            "The workspace was ended because it wrote too much outside of your home and the shared folders."
        )
    if "low on resource: memory" in message:
        return f"The computer it ran on was short of memory (this workspace may use {_memory(pod)}). Open it again."
    return "The computer it ran on was short of disk or memory. Open it again."


def explain(pod: Pod, events: Sequence[Mapping[str, Any]] = ()) -> Trouble | None:
    """Return why a pod that has not ended does not get on; None: nothing is wrong that can be seen.

    Args:
        pod: as the API server shows it.
        events: of this pod alone, by its uid.
    """
    state = _notebook(pod)
    if "running" in state:
        return None
    waiting = (state.get("waiting") or {}).get("reason") or ""
    if waiting in _IMAGE:
        name = _image_name(pod)
        return Trouble("image", f"The image of this workspace ({name}) cannot be fetched. {ADMIN}.")
    if waiting in _CONTAINER:
        return Trouble("container", f"The workspace's container cannot be made on its computer. {ADMIN}.")
    if _is_queued(pod):
        return Trouble("queue", "It waits in the queue for a GPU. The workspace starts when its turn comes.")
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unscheduled(condition.get("message") or "")
    return _from_events(events)


def _is_queued(pod: Pod) -> bool:
    """Tell whether Kueue holds the pod back: it takes its gate away when the pod's turn comes."""
    gates = (pod.get("spec") or {}).get("schedulingGates") or ()
    return any(str(gate.get("name", "")).startswith(_KUEUE) for gate in gates)


def _image_name(pod: Pod) -> str:
    try:
        image = str(pod["spec"]["containers"][0]["image"])
    except (KeyError, IndexError):
        return "unknown"
    return image.partition("@")[0].rpartition("/")[2][:80]


def _unscheduled(message: str) -> Trouble:
    claim = _CLAIM.search(message)
    if claim is not None:
        return Trouble("volume", f"{_volume_name(claim[1])} is missing. {ADMIN} if it stays so.")
    if "PersistentVolumeClaim" in message or "volume" in message:
        return Trouble("volume", f"A folder of this workspace is not ready yet. {ADMIN} if it stays so.")
    short = set(_NO_ROOM.findall(message))
    if any("/" in name for name in short):
        return Trouble(
            "node", "No computer of the cluster has a free GPU. The workspace starts when one is free."
        )
    if short:
        return Trouble(
            "node", "No computer of the cluster has room. The workspace starts when there is some."
        )
    return Trouble(
        "node", f"No computer of the cluster takes this kind of workspace. {ADMIN} if it stays so."
    )


def _from_events(events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    for event in reversed(events):
        reason, message = event.get("reason") or "", event.get("message") or ""
        if reason in ("Pulling", "Pulled", "Created", "Started"):
            return None
        if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            found = _VOLUME.search(message)
            name = _volume_name((found[1] or found[2]) if found else "")
            return Trouble("volume", f"{name} cannot be mounted. {ADMIN} if it stays so.")
        if reason in ("FailedCreatePodSandBox", "FailedCreatePodContainer"):
            return Trouble(
                "container", f"The workspace cannot be made on its computer. {ADMIN} if it stays so."
            )
    return None


def _volume_name(name: str) -> str:
    if name.startswith("home-"):
        return "The folder for your home"
    if name == "project":
        return "The project's shared folder"
    if name == "imports":
        return "The folder of imports"
    return "A dataset" if name.startswith("data-") else "A folder of this workspace"


def is_fetching(events: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the node fetches the image at the moment."""
    said = [event.get("reason") for event in events]
    return "Pulling" in said and "Pulled" not in said
