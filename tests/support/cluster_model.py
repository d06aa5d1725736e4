"""A model of an API server and of what runs behind it, with faults by a seed: answers lost, watches cut, conflicts.

It keeps what the controller relies on (versions, uids, preconditions, field owners, watches with 410) and nothing else.
"""

from __future__ import annotations

import asyncio
import marshal
import random
from typing import Any

from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import (
    CLAIM,
    LEASE,
    NAMESPACE,
    POD,
    QUOTA,
    VOLUME,
    Kind,
    Manifest,
    Ref,
)
from broch_workspaces.cluster.controller.lease import DURATION
from broch_workspaces.cluster.spec import PROJECT_LABEL, ROLE_LABEL, pod_digest

OURS = {"manager": "broch", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ours": {}}}}
THEIRS = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:theirs": {}}}}


def copied(item: Any) -> Any:
    """Return a copy of what is JSON, all the way down. Ten times as fast as `copy.deepcopy`, which most of the time went to."""
    return marshal.loads(marshal.dumps(item))


class Model:
    """The server's objects, and their history for watches."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.faults = 0.0
        """Share of calls that go wrong."""
        self.objects: dict[Ref, Manifest] = {}
        self.lost: list[str] = []
        """Volumes with work of people that were deleted: must stay empty."""
        self.writers: list[str] = []
        """Who wrote, in order, the lease apart."""
        self.wrong: list[str] = []
        """Writes by who did not lead: must stay empty. Not raised, since a controller survives whatever is raised."""
        self.halfway = 0.25
        """Share of claims whose volume is bound while they are not: the next round binds them, or somebody who touches them."""
        self._rounds: dict[str, tuple[object, int]] = {}
        self.may_run: set[str] = set()  # digests of workspace pods that nobody may delete now
        self._version = 0
        self._uid = 0
        self._events: list[tuple[int, str, Ref, Manifest]] = []
        self._oldest = 0
        self._leased_at = 0.0
        self._unsettled: dict[Ref, None] = {}  # in order, so that a seed tells the same story again
        self._changed: dict[Kind, asyncio.Event] = {}

    # ---- what the server does ---------------------------------------------------

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def store(self, ref: Ref, item: Manifest, *, new: bool) -> Manifest:
        """Store one object."""
        item = copied(item)
        item["metadata"]["resourceVersion"] = self._next()
        self.objects[ref] = item
        self._unsettled[ref] = None
        self._tell("ADDED" if new else "MODIFIED", ref, item)
        return copied(item)

    def remove(self, ref: Ref) -> None:
        """Remove one object at once, and what goes with it."""
        item = self.objects.pop(ref)
        if ref.kind is POD and pod_digest(ref.namespace, ref.name) in self.may_run:
            self.wrong.append(f"{ref} was deleted, and might run")
        item["metadata"]["resourceVersion"] = self._next()
        self._tell("DELETED", ref, item)
        if ref.kind is CLAIM:
            self._let_go(item)
        if (
            ref.kind is VOLUME
            and item["spec"].get("dynamic")
            and PROJECT_LABEL not in item["metadata"]["labels"]
        ):
            self.lost.append(ref.name)

    def _let_go(self, claim: Manifest) -> None:
        volume = Ref(VOLUME, "", claim["spec"].get("volumeName", ""))
        there = self.objects.get(volume)
        if there is None or (there["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            return
        if there["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self.remove(volume)
        else:
            there["status"] = {"phase": "Released"}
            self.store(volume, there, new=False)

    def _tell(self, event: str, ref: Ref, item: Manifest) -> None:
        self._events.append((self._version, event, ref, copied(item)))
        self._wake(ref.kind)

    def _wake(self, kind: Kind) -> None:
        if waited := self._changed.pop(kind, None):
            waited.set()

    def changed(self, kind: Kind) -> asyncio.Event:
        """Return what the next change of this kind sets, or the next 410."""
        return self._changed.setdefault(kind, asyncio.Event())

    def compact(self) -> None:
        """Forget history: watches from before get a 410."""
        self._oldest = self._version
        self._events.clear()
        for kind in list(self._changed):
            self._wake(kind)

    def since(self, version: int, kind: Kind) -> list[tuple[int, str, Ref, Manifest]]:
        """Return the events after a version."""
        if version < self._oldest:
            raise ApiError(410, "Expired", "too old resource version")
        return [event for event in self._events if event[0] > version and event[2].kind is kind]

    @property
    def version(self) -> int:
        """The newest version."""
        return self._version

    def new_metadata(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Return the metadata of a new object."""
        space = self.objects.get(Ref(NAMESPACE, "", ref.namespace)) if ref.namespace else None
        if ref.namespace.startswith("zone-"):
            if space is None:
                raise ApiError(404, "NotFound", "namespace not found")
            if "deletionTimestamp" in space["metadata"]:
                raise ApiError(403, "Forbidden", "unable to create: namespace is being terminated")
        self._uid += 1
        return {"labels": {}, **copied(manifest["metadata"]), "uid": f"u-{self._uid}"}

    def wrote(self, who: str, ref: Ref) -> None:
        """Note a write; it must be the holder's, while its lease runs."""
        now = asyncio.get_running_loop().time()
        if ref.kind is LEASE:
            self._leased_at = now
            return
        lease = next((item for key, item in self.objects.items() if key.kind is LEASE), None)
        holder = lease["spec"]["holderIdentity"] if lease else ""
        if holder != who:
            self.wrong.append(f"{who} wrote {ref} while {holder} leads")
        if now - self._leased_at > DURATION:
            self.wrong.append(f"{who} wrote {ref} when its lease was over")
        self.writers.append(who)

    # ---- what runs behind it ----------------------------------------------------

    def turn(self) -> None:
        """Let the controllers of Kubernetes and a node do one thing each."""
        unsettled, self._unsettled = self._unsettled, {}
        for ref in unsettled:
            if ref in self.objects:
                self._step(ref, self.objects[ref])

    def _step(self, ref: Ref, item: Manifest) -> None:
        before = marshal.dumps(item)
        if ref.kind is NAMESPACE and "deletionTimestamp" in item["metadata"]:
            self._empty(ref)
            self._unsettled[ref] = None
            return
        if ref.kind is NAMESPACE:
            item["status"] = {"phase": "Active"}
        elif ref.kind is QUOTA:
            item["status"] = {"hard": item["spec"]["hard"]}
        elif ref.kind is VOLUME:
            item.setdefault("status", {"phase": "Available"})
        elif ref.kind is CLAIM:
            self._bind(ref, item)
        elif ref.kind is POD:
            self._run(item)
        if marshal.dumps(item) != before:
            self.store(ref, item, new=False)
        elif ref.kind in {CLAIM, POD} and item["status"]["phase"] in {"Pending", "Running"}:
            self._unsettled[ref] = None

    def _empty(self, ref: Ref) -> None:
        inside = [key for key in self.objects if key.namespace == ref.name]
        for key in inside[:5]:
            if key in self.objects:
                self.remove(key)
        if not inside:
            self.remove(ref)

    def _bind(self, ref: Ref, item: Manifest) -> None:
        item.setdefault("status", {"phase": "Pending"})
        if item["status"]["phase"] == "Bound":
            return
        name = item["spec"].get("volumeName")
        if not name:
            name = item["spec"]["volumeName"] = f"pvc-{item['metadata']['uid']}"
            body = {"persistentVolumeReclaimPolicy": "Delete", "dynamic": True}
            volume = {"metadata": {"name": name, "labels": {}, "uid": name}, "spec": body}
            self.store(Ref(VOLUME, "", name), volume, new=True)
        there = self.objects.get(Ref(VOLUME, "", name))
        if there is None:
            return
        claim = there["spec"].setdefault("claimRef", {})
        if claim.get("uid", item["metadata"]["uid"]) != item["metadata"]["uid"]:
            return
        if there.get("status", {}).get("phase") != "Bound":
            claim |= {"namespace": ref.namespace, "name": ref.name, "uid": item["metadata"]["uid"]}
            there["status"] = {"phase": "Bound"}
            self.store(Ref(VOLUME, "", name), there, new=False)
        if not self._misses(item):
            item["status"] = {"phase": "Bound"}

    def _misses(self, claim: Manifest) -> bool:
        """Tell whether the other half of a binding is left for a later round."""
        uid, annotations = claim["metadata"]["uid"], claim["metadata"].get("annotations") or {}
        if "volumeName" not in claim["spec"] or claim["spec"]["volumeName"].startswith("pvc-"):
            return False
        if uid not in self._rounds:
            self._rounds[uid] = (annotations, 15 if self.rng.random() < self.halfway else 0)
        seen, rounds = self._rounds[uid]
        self._rounds[uid] = (seen, rounds - 1)
        return rounds > 0 and seen == annotations

    def _run(self, item: Manifest) -> None:
        phase = item.setdefault("status", {}).get("phase", "Pending")
        if phase == "Pending":
            item["status"] = {"phase": "Running"}
        elif (
            phase == "Running"
            and item["metadata"]["labels"].get(ROLE_LABEL) == "importer"
            and self.rng.random() < 0.5
        ):
            code = self.rng.choice([0, 0, 1]) if self.faults else 0
            state = {"terminated": {"exitCode": code}}
            item["status"] = {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [{"state": state}],
            }
