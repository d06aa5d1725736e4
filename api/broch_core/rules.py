"""The one rule engine: `decide(actor, action, resource)` says yes or no, and why. Pure (design, rule 1).

State (may this be approved now?) belongs to the life cycles; this file is about persons. A denial that is `hidden`
is answered 404, as if the thing did not exist: foreign ids are not told apart from ids that nobody has.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole, ProjectRole
from broch_core.errors import Denied, NotFound, Unauthenticated


@dataclass(frozen=True)
class Decision:
    """The answer of a rule, with the reason written for the person who reads it."""

    allowed: bool
    reason: str = ""
    hidden: bool = False
    """A denial that must look like "does not exist"."""


@dataclass(frozen=True)
class Resource:
    """What a rule may know of the thing acted upon. Only what the action needs is filled in."""

    kind: str = "platform"
    id: str | None = None
    project_id: str | None = None
    owner_id: str | None = None
    """Information asset owner of a dataset."""
    person_id: str | None = None
    """Whose workspace, session or ticket it is; unset for a workspace that a project's members share."""
    shared: bool = False
    """The workspace is the project's, not one person's."""
    author_id: str | None = None
    """Who wrote an airlock request, or asked for a package or an outside address."""
    ever_members: frozenset[str] = field(default_factory=frozenset)
    """Everybody who was a member of the project at any time since it began."""
    may_export: bool = False
    """The asset owners of all granted data let this actor submit egress in this project."""
    in_review: bool = False
    """The airlock request has reached the review, in this turn or an earlier one: reviewers may know of it."""


PLATFORM = Resource()


def allow() -> Decision:
    """Say yes."""
    return Decision(allowed=True)


def deny(reason: str) -> Decision:
    """Say no, with the reason."""
    return Decision(allowed=False, reason=reason)


def hide() -> Decision:
    """Say no in a way that does not tell that the thing exists."""
    return Decision(
        allowed=False, reason="There is nothing with this id, or you may not see it.", hidden=True
    )


Rule = Callable[[Actor, Resource], Decision]


def _signed_in(_actor: Actor, _resource: Resource) -> Decision:
    return allow()


def _role(*roles: PlatformRole, what: str) -> Rule:
    def rule(actor: Actor, _resource: Resource) -> Decision:
        return allow() if actor.has(*roles) else deny(what)

    return rule


def _member(actor: Actor, resource: Resource) -> Decision:
    return allow() if actor.is_member(resource.project_id) else hide()


def _member_or_admin(actor: Actor, resource: Resource) -> Decision:
    return allow() if actor.has(PlatformRole.ADMIN) else _member(actor, resource)


def _admin_of_project(actor: Actor, resource: Resource) -> Decision:
    if actor.has(PlatformRole.ADMIN):
        return allow()
    return (
        deny("Only a platform admin may change this project.")
        if actor.is_member(resource.project_id)
        else hide()
    )


def _asset_owner(actor: Actor, resource: Resource) -> Decision:
    if actor.person_id == resource.owner_id:
        return allow()
    return deny("Only the dataset's information asset owner may decide this.")


def _asset_owner_or_admin(actor: Actor, resource: Resource) -> Decision:
    return allow() if actor.has(PlatformRole.ADMIN) else _asset_owner(actor, resource)


def _steward(actor: Actor, _resource: Resource) -> Decision:
    return allow() if actor.has(PlatformRole.STEWARD) else deny("Only a data steward may register data.")


def _own_workspace(actor: Actor, resource: Resource) -> Decision:
    if actor.person_id != resource.person_id:
        return hide()
    return _member(actor, resource)


def _own_workspace_or_admin(actor: Actor, resource: Resource) -> Decision:
    return allow() if actor.person_id == resource.person_id or actor.has(PlatformRole.ADMIN) else hide()


def _enter(actor: Actor, resource: Resource) -> Decision:
    """A workspace is entered by its person, the shared one by any member."""
    return _member(actor, resource) if resource.shared else _own_workspace(actor, resource)


def _stop_shared(actor: Actor, resource: Resource) -> Decision:
    """It ends the work of others too."""
    if actor.has(PlatformRole.ADMIN):
        return allow()
    if not actor.is_member(resource.project_id):
        return hide()
    if actor.memberships[resource.project_id or ""] is not ProjectRole.LEAD:
        return deny("Only a lead of the project or a platform admin may stop it for all. You can leave it.")
    return allow()


def _author(actor: Actor, resource: Resource) -> Decision:
    if not actor.is_member(resource.project_id):
        return hide()
    if actor.person_id != resource.author_id:
        return deny("Only the person who wrote this request may do that.")
    return allow()


def _submit(actor: Actor, resource: Resource) -> Decision:
    written = _author(actor, resource)
    if not written.allowed:
        return written
    if not resource.may_export:
        return deny(
            "You have no permission to export from this project's data. "
            "Ask the information asset owner of each dataset to give it."
        )
    return allow()


def may_review(actor: Actor, resource: Resource) -> Decision:
    """Independent review: not the author, nobody who was ever a member (SATRE 3.3; design, *Review*)."""
    if not actor.has(PlatformRole.REVIEWER):
        return deny("Only airlock reviewers may do this.") if actor.is_member(resource.project_id) else hide()
    if not (resource.in_review or actor.is_member(resource.project_id)):
        return hide()  # also from those who were members: a draft begun after they left is none of theirs
    if actor.person_id == resource.author_id:
        return deny("You cannot review your own request.")
    if actor.person_id in resource.ever_members:
        return deny("You are or were a member of this project, so you cannot review its requests.")
    return allow()


def _read_request(actor: Actor, resource: Resource) -> Decision:
    if actor.is_member(resource.project_id):
        return allow()
    return may_review(actor, resource)


def _overseer(actor: Actor, resource: Resource) -> Decision:
    if actor.has(PlatformRole.ADMIN):
        return allow()
    if actor.is_member(resource.project_id):
        return deny("Only a platform admin may recall a release or try it again.")
    return hide()


def _common_or_member(actor: Actor, resource: Resource) -> Decision:
    """What all projects may install is no secret; what one project may is its own."""
    return allow() if resource.project_id is None else _member_or_admin(actor, resource)


def _lead_or_admin(actor: Actor, resource: Resource) -> Decision:
    if actor.has(PlatformRole.ADMIN):
        return allow()
    if resource.project_id is None:
        return deny("Only a platform admin may change what all projects may install.")
    if not actor.is_member(resource.project_id):
        return hide()
    if actor.memberships[resource.project_id] is not ProjectRole.LEAD:
        return deny("Only a lead of the project may ask for this. Tell the lead what you need, and why.")
    return allow()


def _approve_entry(actor: Actor, resource: Resource) -> Decision:
    """Who asks never decides: two people have seen everything that came onto a list by a request."""
    known = _common_or_member(actor, resource)
    if not known.allowed:
        return known
    if not actor.has(PlatformRole.ADMIN):
        return deny("Only a platform admin may allow this.")
    if actor.person_id == resource.author_id:
        return deny("You asked for this yourself: another platform admin has to allow it.")
    return allow()


def _decline_entry(actor: Actor, resource: Resource) -> Decision:
    known = _common_or_member(actor, resource)
    if not known.allowed or actor.has(PlatformRole.ADMIN) or actor.person_id == resource.author_id:
        return known
    return deny("Only a platform admin, or who asked, may end this request.")


def _remove_entry(actor: Actor, resource: Resource) -> Decision:
    known = _common_or_member(actor, resource)
    if not known.allowed or actor.has(PlatformRole.ADMIN):
        return known
    return deny("Only a platform admin may take this off the list.")


def _budget(actor: Actor, resource: Resource) -> Decision:
    """Nobody decides on what a project of their own may fetch: the person who profits is not the one who allows."""
    known = _admin_of_project(actor, resource)
    if known.allowed and (actor.is_member(resource.project_id) or actor.person_id in resource.ever_members):
        return deny("You are or were a member of this project: another platform admin has to say this.")
    return known


RULES: dict[Action, Rule] = {
    Action.SESSION_READ: _signed_in,
    Action.SESSION_END: _signed_in,
    Action.PERSON_LIST: _role(PlatformRole.ADMIN, what="Only a platform admin may list people."),
    Action.PERSON_CREATE: _role(PlatformRole.ADMIN, what="Only a platform admin may add people."),
    Action.PERSON_SIGN_OUT: _role(PlatformRole.ADMIN, what="Only a platform admin may sign somebody out."),
    Action.PROJECT_LIST: _signed_in,
    Action.PROJECT_READ: _member_or_admin,
    Action.PROJECT_CREATE: _role(PlatformRole.ADMIN, what="Only a platform admin may create projects."),
    Action.PROJECT_ACTIVATE: _admin_of_project,
    Action.PROJECT_FREEZE: _admin_of_project,
    Action.PROJECT_THAW: _admin_of_project,
    Action.PROJECT_END: _admin_of_project,
    Action.PROJECT_BROWSER_POLICY: _admin_of_project,
    Action.PROJECT_IDLE_STOP: _admin_of_project,
    Action.PROJECT_SHARED_WORKSPACE: _admin_of_project,
    Action.MEMBER_ADD: _admin_of_project,
    Action.MEMBER_REMOVE: _admin_of_project,
    Action.DATASET_LIST: _signed_in,
    Action.DATASET_READ: _signed_in,
    Action.DATASET_CREATE: _steward,
    Action.VERSION_CREATE: _steward,
    Action.VERSION_UPLOAD: _steward,
    Action.VERSION_SEAL: _steward,
    Action.GRANT_CREATE: _asset_owner,
    Action.GRANT_REVOKE: _asset_owner_or_admin,
    Action.EXPORT_GIVE: _asset_owner,
    Action.EXPORT_WITHDRAW: _asset_owner_or_admin,
    Action.PACKAGE_LIST: _signed_in,
    Action.PACKAGE_READ: _common_or_member,
    Action.PACKAGE_ASK: _lead_or_admin,
    Action.PACKAGE_APPROVE: _approve_entry,
    Action.PACKAGE_DECLINE: _decline_entry,
    Action.PACKAGE_REMOVE: _remove_entry,
    Action.PACKAGE_USE: _member_or_admin,
    Action.PACKAGE_BUDGET: _budget,
    Action.RESOURCE_LIST: _member_or_admin,
    Action.RESOURCE_ASK: _lead_or_admin,
    Action.RESOURCE_APPROVE: _approve_entry,
    Action.RESOURCE_DECLINE: _decline_entry,
    Action.RESOURCE_REMOVE: _remove_entry,
    Action.WORKSPACE_LIST: _signed_in,
    Action.WORKSPACE_READ: _own_workspace_or_admin,
    Action.WORKSPACE_OPEN: _own_workspace,
    Action.WORKSPACE_STOP: _own_workspace_or_admin,
    Action.SHARED_READ: _member_or_admin,
    Action.SHARED_OPEN: _member,
    Action.SHARED_ENTER: _member,
    Action.SHARED_LEAVE: _member,
    Action.SHARED_STOP: _stop_shared,
    Action.ZONE_BROWSE: _member,
    Action.HUB_AUTHORIZE: _enter,
    Action.AIRLOCK_LIST: _signed_in,
    Action.AIRLOCK_READ: _read_request,
    Action.AIRLOCK_CREATE: _member,
    Action.AIRLOCK_UPLOAD: _author,
    Action.AIRLOCK_SUBMIT: _submit,
    Action.AIRLOCK_WITHDRAW: _author,
    Action.AIRLOCK_COMMENT: _read_request,
    Action.AIRLOCK_QUEUE: _role(PlatformRole.REVIEWER, what="Only airlock reviewers have a review queue."),
    Action.AIRLOCK_FILE_VIEW: may_review,
    Action.AIRLOCK_FILE_DECIDE: may_review,
    Action.AIRLOCK_DOWNLOAD: _member,
    Action.AIRLOCK_RECEIPT: _read_request,
    Action.AIRLOCK_OVERSEE: _role(PlatformRole.ADMIN, what="Only a platform admin may see all releases."),
    Action.AIRLOCK_RECALL: _overseer,
    Action.AIRLOCK_RETRY: _overseer,
    Action.STATUS_READ: _role(PlatformRole.ADMIN, what="Only a platform admin may see how the parts do."),
    Action.TRE_READ: _signed_in,
    Action.TRE_FREEZE: _role(PlatformRole.ADMIN, what="Only a platform admin may freeze the TRE."),
    Action.TRE_UNFREEZE: _role(PlatformRole.ADMIN, what="Only a platform admin may thaw the TRE."),
    Action.AUDIT_READ: _role(PlatformRole.ADMIN, what="Only a platform admin may read the audit log."),
    Action.AUDIT_VERIFY: _role(
        PlatformRole.ADMIN, what="Only a platform admin may verify the audit log here."
    ),
    Action.AUDIT_ERASE: _role(PlatformRole.ADMIN, what="Only a platform admin may erase personal texts."),
    Action.AUDIT_ROTATE: _role(PlatformRole.ADMIN, what="Only a platform admin may renew signing keys."),
}
"""Actions of persons. Actions of parts of Broch (hub, door) and public ones are guarded by their own credentials."""

UNGUARDED: frozenset[Action] = frozenset({Action.PUBLIC_READ, Action.SESSION_START, Action.SESSION_REVOKE})
"""Open to everybody: health, static files, the sign-in page; ending sessions, which takes the provider's signature."""

SERVICE_ACTIONS: frozenset[Action] = frozenset(
    {
        Action.ZONE_PLAN,
        Action.ZONE_REPORT,
        Action.PACKAGES_LISTS,
        Action.PACKAGES_FETCH,
        Action.PACKAGES_DENIAL,
        Action.HUB_PLAN,
        Action.HUB_EVENT,
        Action.HUB_TOKEN,
        Action.DOOR_DRAFT,
        Action.DOOR_READ,
        Action.DOOR_DELIVERY,
    }
)
"""Guarded by a service token, not by a person's rights."""


decided: ContextVar[set[Action] | None] = ContextVar("decided", default=None)
"""What has been decided during this request: a route whose action was never decided fails (design, rule 1)."""


def decide(actor: Actor | None, action: Action, resource: Resource = PLATFORM) -> Decision:
    """Decide whether `actor` may do `action` to `resource`. Unknown actions are denied."""
    if action in UNGUARDED:
        return allow()
    if actor is None:
        return deny("Nobody is signed in.")
    rule = RULES.get(action)
    return rule(actor, resource) if rule else deny("No rule allows this action.")


def require(actor: Actor | None, action: Action, resource: Resource = PLATFORM) -> None:
    """Raise unless `decide` says yes.

    Raises:
        Unauthenticated: nobody is signed in.
        NotFound: the actor may not know that the thing exists.
        Denied: the rule says no, with its reason.
    """
    decision = decide(actor, action, resource)
    if (seen := decided.get()) is not None:
        seen.add(action)
    if decision.allowed:
        return
    if actor is None:
        raise Unauthenticated("Sign in to go on.")
    if decision.hidden:
        raise NotFound(action=action, resource=resource)
    raise Denied(decision.reason, action=action, resource=resource)
