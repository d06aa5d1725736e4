"""Every action there is, as `resource:verb`. A route without one fails the test run (design, rule 1)."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """What an actor wants to do."""

    PUBLIC_READ = "public:read"
    SESSION_START = "session:start"
    SESSION_READ = "session:read"
    SESSION_END = "session:end"

    PERSON_LIST = "person:list"
    PERSON_CREATE = "person:create"

    PROJECT_LIST = "project:list"
    PROJECT_READ = "project:read"
    PROJECT_CREATE = "project:create"
    PROJECT_ACTIVATE = "project:activate"
    PROJECT_FREEZE = "project:freeze"
    PROJECT_THAW = "project:thaw"
    PROJECT_END = "project:end"
    PROJECT_BROWSER_POLICY = "project:browser-policy"
    MEMBER_ADD = "member:add"
    MEMBER_REMOVE = "member:remove"

    DATASET_LIST = "dataset:list"
    DATASET_READ = "dataset:read"
    DATASET_CREATE = "dataset:create"
    VERSION_CREATE = "version:create"
    VERSION_UPLOAD = "version:upload"
    VERSION_SEAL = "version:seal"
    GRANT_CREATE = "grant:create"
    GRANT_REVOKE = "grant:revoke"
    EXPORT_GIVE = "export:give"
    EXPORT_WITHDRAW = "export:withdraw"

    WORKSPACE_LIST = "workspace:list"
    WORKSPACE_READ = "workspace:read"
    WORKSPACE_OPEN = "workspace:open"
    WORKSPACE_STOP = "workspace:stop"
    ZONE_BROWSE = "zone:browse"

    AIRLOCK_LIST = "airlock:list"
    AIRLOCK_READ = "airlock:read"
    AIRLOCK_CREATE = "airlock:create"
    AIRLOCK_UPLOAD = "airlock:upload"
    AIRLOCK_SUBMIT = "airlock:submit"
    AIRLOCK_WITHDRAW = "airlock:withdraw"
    AIRLOCK_COMMENT = "airlock:comment"
    AIRLOCK_QUEUE = "airlock:queue"
    AIRLOCK_FILE_VIEW = "airlock:file-view"
    AIRLOCK_FILE_DECIDE = "airlock:file-decide"
    AIRLOCK_DOWNLOAD = "airlock:download"
    AIRLOCK_RECEIPT = "airlock:receipt"
    AIRLOCK_OVERSEE = "airlock:oversee"
    AIRLOCK_RECALL = "airlock:recall"
    AIRLOCK_RETRY = "airlock:retry"

    DOOR_DRAFT = "door:draft"
    DOOR_READ = "door:read"
    HUB_PLAN = "hub:plan"
    HUB_EVENT = "hub:event"
    HUB_TOKEN = "hub:token"  # noqa: S105 - the name of an action, not a secret
    HUB_AUTHORIZE = "hub:authorize"

    STATUS_READ = "status:read"
    AUDIT_READ = "audit:read"
    AUDIT_VERIFY = "audit:verify"
    AUDIT_ERASE = "audit:erase"
    AUDIT_ROTATE = "audit:rotate"
