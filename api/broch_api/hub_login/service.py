"""Codes and tokens of the hub's sign-in: random, kept hashed, redeemed once, never older than the session behind them."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, or_, select, update

from broch_api.hub_login.errors import Fault, TokenRefused, UntrustedClient
from broch_api.hub_login.requests import (
    CLIENT_ID,
    Parameters,
    TokenRequest,
    answer_address,
    challenge_of,
    fault_of_authorization,
)
from broch_api.workspaces.entrants import end_stays, enter, stay_facts, stays
from broch_api.workspaces.hub import HubAway, HubClient, HubRefused
from broch_api.workspaces.rights import SHARED_NOT_ALLOWED, stay_end
from broch_api.workspaces.rows import find_principal
from broch_api.workspaces.service import resource_of
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.denials import DenialLog
from broch_core.audit.record import AuditSubject, new_record
from broch_core.clock import utc_now
from broch_core.confinement import may_enter
from broch_core.errors import Conflict, Denied, NotFound
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, find_project, require_running
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store
from broch_core.tables.people import Person, UserSession
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Entrant, LoginCode, Workspace
from broch_core.web.sessions import actor_of, token_hash

CODE_LIFETIME = timedelta(seconds=60)
"""How long a code is good. A minute: the browser carries it straight on (RFC 6749, 4.1.2 asks for ten at most)."""
ACCESS_LIFETIME = timedelta(seconds=60)
"""How long an access token is good: for the one question that follows at once."""


@dataclass(frozen=True)
class Named:
    """Who an access token stands for at the hub."""

    principal: str
    shown_name: str | None = None
    """Of who enters a shared workspace, for those who are in it."""
    enters: str | None = None
    """Principal of the shared workspace that this one may enter, and nothing else."""


@dataclass(frozen=True)
class Access:
    """An access token, for one call of userinfo."""

    token: str
    seconds: int


class HubLogin:
    """Lets the hub know which principal a browser may be."""

    def __init__(self, store: Store, settings: Settings, denials: DenialLog, hub: HubClient) -> None:
        self._store = store
        self._hub = hub
        self._denials = denials
        self._redirect_uri = f"{settings.hub_origin}/hub/oauth_callback"

    def authorize(self, actor: Actor, given: Parameters) -> str:
        """Return where to send the browser: with a code for the actor's own workspace, or with an error.

        Raises:
            UntrustedClient: client or redirect address are not the hub's; nothing may be sent there.
        """
        for name in ("client_id", "redirect_uri"):
            if name in given.repeated:
                raise UntrustedClient(f"The sign-in request names its {name} twice.")
        if given["client_id"] != CLIENT_ID or given["redirect_uri"] != self._redirect_uri:
            raise UntrustedClient(
                "The sign-in request is not from this Broch's hub.",
                remedy="Open the workspace from your project's page.",
            )
        refusal = self._refusal(actor, given)
        fault = fault_of_authorization(given) or refusal
        if fault is None:
            try:
                code = self._issue(actor, given)
            except (Conflict, NotFound) as error:
                fault = (Fault.ACCESS_DENIED, error.detail)
            except (HubAway, HubRefused):
                fault = (Fault.TEMPORARILY_UNAVAILABLE, "The hub is away. Try again in a minute.")
        if fault is not None:
            kind, description = fault
            return answer_address(self._redirect_uri, given, error=kind.value, error_description=description)
        return answer_address(self._redirect_uri, given, code=code)

    def redeem(self, asked: TokenRequest) -> Access:
        """Exchange a code for an access token, once. A code that is presented wrongly is spent.

        Raises:
            TokenRefused: `invalid_grant`.
        """
        token = secrets.token_urlsafe(32)
        now = utc_now()
        hashed = token_hash(asked.code)
        with self._store.write() as change:
            change.exempt = (
                True  # `_record` writes what came of it; a code that nobody was given is nobody's act
            )
            won = change.session.exec(
                update(LoginCode)
                .where(col(LoginCode.code_hash) == hashed, col(LoginCode.redeemed_at).is_(None))
                .values(redeemed_at=now, access_hash=token_hash(token))
                .execution_options(synchronize_session=False)
            )
            row = change.session.get(LoginCode, hashed, populate_existing=True)
            problem = _problem(change.session, row, asked, now, first=won.rowcount == 1)
            if row is not None:
                _record(change, row, problem)
            if problem is not None and row is not None:
                # A second use means that somebody else has the code: what it gave is void (RFC 6749, 4.1.2).
                row.access_hash = None
                change.session.add(row)
        if problem is not None:
            raise TokenRefused(Fault.INVALID_GRANT, problem)
        return Access(token, int(ACCESS_LIFETIME.total_seconds()))

    def named_by(self, access_token: str) -> Named | None:
        """Return who an access token stands for, once; nothing if it is not good (any more)."""
        now = utc_now()
        hashed = token_hash(access_token)
        with self._store.write(housekeeping=True) as change:
            row = change.session.exec(select(LoginCode).where(LoginCode.access_hash == hashed)).first()
            if row is None:
                return None
            spent = change.session.exec(
                update(LoginCode)
                .where(col(LoginCode.access_hash) == hashed)
                .values(access_hash=None)
                .execution_options(synchronize_session=False)
            )
            fresh = row.redeemed_at is not None and now < row.redeemed_at + ACCESS_LIFETIME
            named = _still_named(change.session, row, now)
            return named if spent.rowcount == 1 and fresh else None

    def _refusal(self, actor: Actor, given: Parameters) -> tuple[Fault, str] | None:
        with self._store.read() as session:
            row = session.exec(select(Workspace).where(Workspace.principal == given["principal"])).first()
        resource = resource_of(row) if row else Resource("workspace")
        try:
            require(actor, Action.HUB_AUTHORIZE, resource)
            if resource.shared:
                require(actor, Action.SHARED_ENTER, resource)
        except (Denied, NotFound):
            if given["principal"]:
                self._denials.note(actor.person_id, Action.HUB_AUTHORIZE, resource)
            return Fault.ACCESS_DENIED, "This workspace is not yours, or its project is not open to you now."
        return self._browser(actor, row) if row else None

    def _browser(self, actor: Actor, row: Workspace) -> tuple[Fault, str] | None:
        """Return why the browser is not let in, if the project asks more of browsers."""
        with self._store.read() as session:
            project = session.get_one(Project, row.project_id)
            entered = session.get(UserSession, actor.session_id)
        decision = may_enter(project.browser_policy, entered.confined if entered else None)
        return None if decision.allowed else (Fault.ACCESS_DENIED, decision.reason)

    def _issue(self, actor: Actor, given: Parameters) -> str:
        code = secrets.token_urlsafe(32)
        now = utc_now()
        with self._store.write() as change:
            workspace = find_principal(change.session, given["principal"])
            stay = self._enter(change, actor, workspace) if workspace.person_id is None else None
            _forget_old(change.session, now)
            change.session.add(
                LoginCode(
                    code_hash=token_hash(code),
                    session_id=actor.session_id or "",
                    principal=stay.principal if stay is not None else workspace.principal,
                    client_id=CLIENT_ID,
                    redirect_uri=self._redirect_uri,
                    challenge=given["code_challenge"],
                    expires_at=now + CODE_LIFETIME,
                )
            )
            change.audit(
                actor.person_id,
                Action.HUB_AUTHORIZE,
                AuditSubject("workspace", workspace.id, workspace.project_id),
                facts={"session": actor.session_id},
            )
        if stay is not None:
            # Before the browser comes to the hub, which knows nobody but whom the control plane made.
            self._make_user(stay)
        return code

    def _enter(self, change: Change, actor: Actor, workspace: Workspace) -> Entrant:
        """Judge again, under the locks that changes of members and of the policy take."""
        project = find_project(change.session, EVERYTHING, workspace.project_id, lock=True)
        change.session.refresh(workspace, with_for_update=True)
        require_running(project, utc_now())
        if not project.shared_workspace:
            raise Conflict(SHARED_NOT_ALLOWED)
        return enter(change, actor, workspace)

    def _make_user(self, stay: Entrant) -> None:
        try:
            self._hub.make_user(stay.principal)
        except (HubAway, HubRefused):
            with self._store.write() as change:
                row = change.session.get(Entrant, stay.id, with_for_update=True)
                end_stays(change, [row] if row is not None else [], SYSTEM, "the hub is away")
            raise


def _forget_old(session: Session, now: datetime) -> None:
    """Delete some of the codes that say nothing any more, a day after they did.

    One that was redeemed says who entered a start, by which signing out ends the workspace: it stays as long as its session.
    """
    before = now - timedelta(days=1)
    old = (
        select(LoginCode)
        .join(UserSession, col(UserSession.id) == LoginCode.session_id)
        .where(
            LoginCode.expires_at < before,
            or_(
                col(LoginCode.redeemed_at).is_(None),
                col(UserSession.ended_at) < before,
                UserSession.expires_at < before,
            ),
        )
    )
    for one in session.exec(old.limit(100)).all():
        session.delete(one)


def _problem(
    session: Session, row: LoginCode | None, asked: TokenRequest, now: datetime, *, first: bool
) -> str | None:
    if row is None:
        return "There is no such code."
    ends = (
        (not first, "The code was used already."),
        (now >= row.expires_at, "The code has expired."),
        (
            row.client_id != CLIENT_ID or row.redirect_uri != asked.redirect_uri,
            "The code was given for another redirect address.",
        ),
        (
            not hmac.compare_digest(challenge_of(asked.verifier), row.challenge),
            "The verifier does not fit the challenge.",
        ),
        (
            _still_named(session, row, now) is None,
            "The session behind the code has ended, or the workspace is not the person's any more.",
        ),
    )
    return next((says for broken, says in ends if broken), None)


def _still_named(session: Session, row: LoginCode, now: datetime) -> Named | None:
    """Return who a code names, while the session lives and its person still has the right to the workspace."""
    person = session.exec(
        select(Person)
        .join(UserSession, col(UserSession.person_id) == Person.id)
        .where(
            UserSession.id == row.session_id,
            col(UserSession.ended_at).is_(None),
            UserSession.expires_at > now,
            col(Person.disabled_at).is_(None),
        )
    ).first()
    if person is None:
        return None
    own = session.exec(
        select(Workspace).where(Workspace.principal == row.principal, Workspace.person_id == person.id)
    ).first()
    if own is not None:
        is_member = actor_of(session, person, now).is_member(own.project_id)
        return Named(row.principal) if is_member else None
    stay = next(iter(stays(session, session_id=row.session_id, principal=row.principal)), None)
    if stay is None or stay_end(stay_facts(session, stay, now)) is not None:
        return None
    workspace = session.get_one(Workspace, stay.workspace_id)
    return Named(row.principal, person.display_name, workspace.principal)


def _record(change: Change, row: LoginCode, problem: str | None) -> None:
    session = change.session.get(UserSession, row.session_id)
    record, _ = new_record(
        session.person_id if session else SYSTEM,
        Action.HUB_TOKEN,
        AuditSubject("session", row.session_id),
        facts={"reason": problem or "redeemed"},
        personal={},
        outcome="denied" if problem else "allowed",
    )
    change.session.add(record)  # `Change.audit` knows no denials
