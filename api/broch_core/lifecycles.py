"""The life cycles of project, dataset version, workspace, list entry and airlock request."""

from __future__ import annotations

from enum import StrEnum

from broch_core.lifecycle import Lifecycle


class ProjectStatus(StrEnum):
    """States of a project."""

    PLANNED = "planned"
    ACTIVE = "active"
    FROZEN = "frozen"
    ENDED = "ended"


class ProjectEvent(StrEnum):
    """What moves a project."""

    ACTIVATE = "activate"
    FREEZE = "freeze"
    THAW = "thaw"
    END = "end"


PROJECT = Lifecycle(
    "project",
    ProjectStatus.PLANNED,
    (
        (ProjectStatus.PLANNED, ProjectEvent.ACTIVATE, ProjectStatus.ACTIVE),
        (ProjectStatus.PLANNED, ProjectEvent.END, ProjectStatus.ENDED),
        (ProjectStatus.ACTIVE, ProjectEvent.FREEZE, ProjectStatus.FROZEN),
        (ProjectStatus.ACTIVE, ProjectEvent.END, ProjectStatus.ENDED),
        (ProjectStatus.FROZEN, ProjectEvent.THAW, ProjectStatus.ACTIVE),
        (ProjectStatus.FROZEN, ProjectEvent.END, ProjectStatus.ENDED),
    ),
)


class VersionStatus(StrEnum):
    """States of a dataset version."""

    OPEN = "open"
    SEALED = "sealed"
    SUSPENDED = "suspended"


class VersionEvent(StrEnum):
    """What moves a dataset version."""

    SEAL = "seal"
    SUSPEND = "suspend"


VERSION = Lifecycle(
    "dataset version",
    VersionStatus.OPEN,
    (
        (VersionStatus.OPEN, VersionEvent.SEAL, VersionStatus.SEALED),
        (VersionStatus.SEALED, VersionEvent.SUSPEND, VersionStatus.SUSPENDED),
    ),
)


class WorkspaceStatus(StrEnum):
    """States of a workspace."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class WorkspaceEvent(StrEnum):
    """What moves a workspace."""

    OPEN = "open"
    READY = "ready"
    FAIL = "fail"
    STOP = "stop"
    GONE = "gone"


WORKSPACE = Lifecycle(
    "workspace",
    WorkspaceStatus.STOPPED,
    (
        (WorkspaceStatus.STOPPED, WorkspaceEvent.OPEN, WorkspaceStatus.STARTING),
        (WorkspaceStatus.FAILED, WorkspaceEvent.OPEN, WorkspaceStatus.STARTING),
        (WorkspaceStatus.STARTING, WorkspaceEvent.READY, WorkspaceStatus.RUNNING),
        (WorkspaceStatus.STARTING, WorkspaceEvent.FAIL, WorkspaceStatus.FAILED),
        (WorkspaceStatus.STARTING, WorkspaceEvent.STOP, WorkspaceStatus.STOPPING),
        (WorkspaceStatus.STARTING, WorkspaceEvent.GONE, WorkspaceStatus.STOPPED),
        (WorkspaceStatus.RUNNING, WorkspaceEvent.STOP, WorkspaceStatus.STOPPING),
        (WorkspaceStatus.RUNNING, WorkspaceEvent.GONE, WorkspaceStatus.STOPPED),
        (WorkspaceStatus.RUNNING, WorkspaceEvent.FAIL, WorkspaceStatus.FAILED),
        (WorkspaceStatus.STOPPING, WorkspaceEvent.GONE, WorkspaceStatus.STOPPED),
        (WorkspaceStatus.STOPPING, WorkspaceEvent.FAIL, WorkspaceStatus.FAILED),
    ),
)


class AllowanceStatus(StrEnum):
    """States of what a list may hold: a package, an outside address."""

    PROPOSED = "proposed"
    ALLOWED = "allowed"
    DECLINED = "declined"
    REMOVED = "removed"


class AllowanceEvent(StrEnum):
    """What moves an entry of a list."""

    APPROVE = "approve"
    DECLINE = "decline"
    REMOVE = "remove"


ALLOWANCE = Lifecycle(
    "list entry",
    AllowanceStatus.PROPOSED,
    (
        (AllowanceStatus.PROPOSED, AllowanceEvent.APPROVE, AllowanceStatus.ALLOWED),
        (AllowanceStatus.PROPOSED, AllowanceEvent.DECLINE, AllowanceStatus.DECLINED),
        (AllowanceStatus.ALLOWED, AllowanceEvent.REMOVE, AllowanceStatus.REMOVED),
    ),
)
"""Whatever ends stays as history: who wants it again proposes a new entry."""


class AirlockStatus(StrEnum):
    """States of an airlock request. `*ing`: work is moving and has a deadline."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CHECKING = "checking"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    RELEASING = "releasing"
    RELEASED = "released"
    QUARANTINED = "quarantined"
    RETURNED = "returned"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"
    RECALLED = "recalled"


class AirlockEvent(StrEnum):
    """What moves an airlock request."""

    SUBMIT = "submit"
    CHECK = "check"
    HOLD = "hold"
    PASS = "pass"  # noqa: S105 - the name of an event, not a secret
    QUARANTINE = "quarantine"
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"
    RELEASE = "release"
    DELIVER = "deliver"
    FAIL = "fail"
    RETRY = "retry"
    WITHDRAW = "withdraw"
    RECALL = "recall"


_A, _E = AirlockStatus, AirlockEvent

AIRLOCK = Lifecycle(
    "airlock request",
    _A.DRAFT,
    (
        (_A.DRAFT, _E.SUBMIT, _A.SUBMITTED),
        (_A.DRAFT, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.SUBMITTED, _E.CHECK, _A.CHECKING),
        (_A.SUBMITTED, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.CHECKING, _E.HOLD, _A.IN_REVIEW),
        (_A.CHECKING, _E.PASS, _A.APPROVED),
        (_A.CHECKING, _E.QUARANTINE, _A.QUARANTINED),
        (_A.CHECKING, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.IN_REVIEW, _E.APPROVE, _A.APPROVED),
        (_A.IN_REVIEW, _E.RETURN, _A.RETURNED),
        (_A.IN_REVIEW, _E.REJECT, _A.REJECTED),
        (_A.IN_REVIEW, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.RETURNED, _E.SUBMIT, _A.SUBMITTED),
        (_A.RETURNED, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.APPROVED, _E.RELEASE, _A.RELEASING),
        (_A.APPROVED, _E.WITHDRAW, _A.WITHDRAWN),
        (_A.RELEASING, _E.DELIVER, _A.RELEASED),
        (_A.RELEASING, _E.FAIL, _A.FAILED),
        (_A.FAILED, _E.RETRY, _A.RELEASING),
        (_A.RELEASED, _E.RECALL, _A.RECALLED),
    ),
)
