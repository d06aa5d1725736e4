"""The kinds of Kubernetes objects that a zone is made of, and how they are addressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, NamedTuple

Manifest = dict[str, Any]
"""One Kubernetes object as JSON."""

FIELD_MANAGER = "broch"
"""Who applied it, as the API server remembers it: what another manager made is never pruned."""
ARCHIVED_LABEL = "broch.dev/archived-of"
"""Label of a volume whose bytes outlive their zone, with the project's id in lower case."""
ARCHIVED_AT = "broch.dev/archived-at"
"""Annotation beside it: when, RFC 3339."""
ENDING = "broch.dev/ending"
"""Annotation of a zone's namespace that is archived and then deleted."""


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind. There is one object of each, so references are compared and hashed without a look at its fields."""

    name: str
    group_version: str
    plural: str
    words: str
    """What a person calls it: no names of the cluster's internals."""
    stage: int = 0
    """Made in this order: nothing may run before the limits and the network rules are there."""
    namespaced: bool = True
    strict: bool = False
    """Whether fields that others added are taken away again: each could widen what a zone may."""
    extension: str = ""
    """What must be installed for the cluster to know this kind; empty: nothing, each cluster does."""

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path on the API server of one object, or of all."""
        base = (
            f"/api/{self.group_version}" if "/" not in self.group_version else f"/apis/{self.group_version}"
        )
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{base}{within}/{self.plural}{'/' if name else ''}{name}"


NAMESPACE = Kind("Namespace", "v1", "namespaces", "frame", stage=0, namespaced=False)
QUOTA = Kind("ResourceQuota", "v1", "resourcequotas", "quota", stage=1, strict=True)
LIMITS = Kind("LimitRange", "v1", "limitranges", "limits", stage=1, strict=True)
POLICY = Kind(
    "NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", "network rules", stage=2, strict=True
)
CONFIG = Kind("ConfigMap", "v1", "configmaps", "certificate authority", stage=3, strict=True)
ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts", "accounts", stage=3, strict=True)
BINDING = Kind("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings", "rights", stage=4, strict=True)
VOLUME = Kind("PersistentVolume", "v1", "persistentvolumes", "data volumes", stage=5, namespaced=False)
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", "volumes", stage=6)
# Not strict: whom Kueue lets go first, and whether it lets anybody go, is the business of who runs the cluster.
QUEUE = Kind(
    "LocalQueue", "kueue.x-k8s.io/v1beta2", "localqueues", "queue for GPUs", stage=7, extension="Kueue"
)
POD = Kind("Pod", "v1", "pods", "imports", stage=8)
STORAGE_CLASS = Kind("StorageClass", "storage.k8s.io/v1", "storageclasses", "storage class", namespaced=False)
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases", "lease")

ZONE_KINDS = (NAMESPACE, QUOTA, LIMITS, POLICY, CONFIG, ACCOUNT, BINDING, VOLUME, CLAIM, QUEUE)
"""What `zone_manifests` may build; an object of any other kind is refused."""
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in (*ZONE_KINDS, POD, STORAGE_CLASS, LEASE)}
FIXED = frozenset({BINDING, QUEUE})
"""Kinds that lead to something that cannot be changed: what leads elsewhere goes, and is made anew."""


def watched(*, queue: bool) -> tuple[Kind, ...]:
    """Return the kinds that are followed; `queue` says whether zones have one: rights for it are given only then."""
    return (*(kind for kind in ZONE_KINDS if queue or kind is not QUEUE), POD)


class Ref(NamedTuple):
    """Which object."""

    kind: Kind
    namespace: str
    """Empty where the kind has none."""
    name: str

    @property
    def path(self) -> str:
        """Return its path on the API server."""
        return self.kind.path(self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind.name}/{self.namespace}/{self.name}".replace("//", "/")


def ref_of(kind: Kind, item: Mapping[str, Any]) -> Ref:
    """Return which object this is. Its words are kept once, however many objects have them: `deny` is in every zone."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace", "") if kind.namespaced else ""
    return Ref(kind, intern(namespace), intern(metadata["name"]))
