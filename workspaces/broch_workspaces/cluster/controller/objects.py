"""What is remembered of an object that the API server showed: a few words, never the object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from broch_workspaces.cluster.controller.kinds import (
    CLAIM,
    FIELD_MANAGER,
    NAMESPACE,
    POD,
    QUOTA,
    VOLUME,
    Kind,
    Manifest,
)
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL, ROLE_LABEL


@dataclass(frozen=True, slots=True)
class Seen:
    """One object as it was last seen."""

    uid: str
    version: str
    """Its resourceVersion; opaque."""
    digest: int
    """Of everything in it that we could have meant."""
    project: str
    """Of its label, in lower case; empty without one."""
    ours: bool
    """It was applied by Broch and has its label."""
    leaving: bool
    """It is being deleted."""
    kept: bool
    """Bytes would go with it: only archiving ends it, never pruning."""
    role: str
    """Of its label `broch.dev/role`."""
    state: str
    """One word, by kind: a phase, whether a quota is in force, how a pod ended."""
    storage_class: str = ""
    """Of a claim; empty: none."""


def digest(value: object) -> int:
    """Return 64 bits of what a JSON value is."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def seen(kind: Kind, item: Mapping[str, Any]) -> Seen:
    """Return what is remembered of an object. Words that many share are kept once (`intern`): there are 20 objects a zone."""
    metadata = item["metadata"]
    labels = metadata.get("labels") or {}
    return Seen(
        uid=metadata.get("uid", ""),
        version=metadata.get("resourceVersion", ""),
        digest=0 if kind is POD else digest(_meant(kind, item)),
        project=intern(labels.get(PROJECT_LABEL, "")),
        ours=labels.get(PART_OF) == "broch" and any(_is_ours(entry) for entry in _managers(item)),
        leaving="deletionTimestamp" in metadata,
        kept=_holds_bytes(kind, item),
        role=intern(labels.get(ROLE_LABEL, "")),
        state=intern(_state(kind, item)),
        storage_class=intern(_storage_class(kind, item)),
    )


def _meant(kind: Kind, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that somebody set, without those that Kubernetes writes by itself."""
    metadata = item["metadata"]
    body = {
        key: value for key, value in item.items() if key not in {"metadata", "status", "kind", "apiVersion"}
    }
    body["labels"] = metadata.get("labels") or {}
    if kind not in {CLAIM, VOLUME}:
        # The volume controller writes annotations of its own on both whenever it binds them.
        body["annotations"] = metadata.get("annotations") or {}
    spec = body.get("spec")
    if kind is CLAIM and spec:
        body["spec"] = {key: value for key, value in spec.items() if key != "volumeName"}
    if kind is VOLUME and spec and "claimRef" in spec:
        claim = {key: spec["claimRef"].get(key) for key in ("namespace", "name")}
        body["spec"] = {**spec, "claimRef": claim}
    return body


def _holds_bytes(kind: Kind, item: Mapping[str, Any]) -> bool:
    spec = item.get("spec") or {}
    if kind is CLAIM:
        return spec.get("accessModes") != ["ReadOnlyMany"]
    return kind is VOLUME and spec.get("persistentVolumeReclaimPolicy") != "Retain"


def never_bound(claim: Mapping[str, Any]) -> bool:
    """Return whether a claim never had a volume, so that nothing can have been written."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    return not spec.get("volumeName") and status.get("phase", "Pending") == "Pending"


def _storage_class(kind: Kind, item: Mapping[str, Any]) -> str:
    return str((item.get("spec") or {}).get("storageClassName") or "") if kind is CLAIM else ""


def _state(kind: Kind, item: Mapping[str, Any]) -> str:
    status = item.get("status") or {}
    if kind in {NAMESPACE, CLAIM, VOLUME}:
        return str(status.get("phase", ""))
    if kind is QUOTA:
        hard = (item.get("spec") or {}).get("hard") or {}
        return "enforced" if status.get("hard") == hard else ""
    if kind is POD:
        return pod_state(status)
    return ""


def pod_state(status: Mapping[str, Any]) -> str:
    """Say how a pod is: its phase, and for a failed one the exit code (`Failed:3`) where there is one."""
    phase = str(status.get("phase", "Pending"))
    if phase != "Failed":
        return phase
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return f"Failed:{ended.get('exitCode', '')}"
    return phase


def _managers(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from item["metadata"].get("managedFields") or ()


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"


def has_foreign_fields(item: Manifest) -> bool:
    """Return whether somebody else set a field that we did not: applying again would leave it in place."""
    ours: set[tuple[str, ...]] = set()
    theirs: set[tuple[str, ...]] = set()
    for entry in _managers(item):
        if entry.get("subresource"):
            continue
        fields = set(_leaves(entry.get("fieldsV1") or {}))
        (ours if _is_ours(entry) else theirs).update(fields)
    return any(path[0] not in {"f:metadata", "f:status"} for path in theirs - ours)


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, below in fields.items():
        if key == ".":
            # Says only that the map or list is there; what is in it has paths of its own.
            continue
        if isinstance(below, dict) and below:
            yield from _leaves(below, (*path, key))
        else:
            yield (*path, key)
