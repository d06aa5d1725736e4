"""Members of a project: present and past, since review must stay independent."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from sqlmodel import Session, col, or_, select, update

from broch_api.people.schemas import PersonRef
from broch_api.people.service import roles_of
from broch_api.projects.schemas import MemberAdd, MemberView
from broch_api.revocations.begin import EndedRight, revoke
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.lifecycles import ProjectStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import Resource, require
from broch_core.scope import find_project, scope_of
from broch_core.store.unit import Store
from broch_core.tables.datasets import ExportPermission
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership


class MemberRegister:
    """Adds and removes members. Both lock the project's row, as decisions of reviewers do."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def history(self, actor: Actor, project_id: str) -> list[MemberView]:
        """Return everybody who is or was a member.

        Raises:
            NotFound: the actor may not know of the project.
        """
        require(actor, Action.PROJECT_READ, Resource("project", project_id, project_id))
        with self._store.read() as session:
            find_project(session, scope_of(actor), project_id)
            return members_of(session, project_id, utc_now())

    def add(self, actor: Actor, project_id: str, body: MemberAdd) -> MemberView:
        """Make somebody a member.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor is no platform admin.
            Invalid: nobody active has this handle, or the last day lies in the past.
            Conflict: the person is a member already, or the project has ended.
        """
        require(actor, Action.MEMBER_ADD, Resource("project", project_id, project_id))
        with self._store.write() as change:
            session, now = change.session, utc_now()
            project = find_project(session, scope_of(actor), project_id, lock=True)
            if project.status is ProjectStatus.ENDED:
                raise Conflict(f"The project '{project.name}' has ended: nobody can join it.")
            if body.last_day is not None and not now.date() <= body.last_day <= project.ends_on:
                raise Invalid(
                    f"The last day lies between today and the end of the project, {project.ends_on}.",
                    field="last_day",
                )
            person = session.exec(
                select(Person).where(Person.handle == body.handle, col(Person.disabled_at).is_(None))
            ).first()
            if person is None:
                raise Invalid(f"Nobody here has the handle '{body.handle}'.", field="handle")
            if is_present_member(session, project_id, person.id, now):
                raise Conflict(f"{person.display_name} is a member already.", field="handle")
            membership = Membership(
                project_id=project_id,
                person_id=person.id,
                role=body.role,
                until=None if body.last_day is None else _end_of(body.last_day),
            )
            session.add(membership)
            change.audit(
                actor.person_id,
                Action.MEMBER_ADD,
                AuditSubject("membership", membership.id, project_id),
                facts={"person": person.id, "role": body.role.value, "last_day": str(body.last_day or "")},
            )
            roles = roles_of(session, [person.id])[person.id]
        return _view(membership, person, utc_now(), reviewer=PlatformRole.REVIEWER in roles)

    def remove(self, actor: Actor, project_id: str, membership_id: str) -> MemberView:
        """End a membership now: the workspace stops and permissions to export are withdrawn.

        Raises:
            NotFound: the actor may not know of the project, or it has no such membership.
            Denied: the actor is no platform admin.
            Conflict: the membership has ended already.
        """
        require(actor, Action.MEMBER_REMOVE, Resource("project", project_id, project_id))
        with self._store.write() as change:
            session, now = change.session, utc_now()
            find_project(session, scope_of(actor), project_id, lock=True)
            row = session.exec(
                select(Membership, Person)
                .join(Person, col(Person.id) == Membership.person_id)
                .where(Membership.id == membership_id, Membership.project_id == project_id)
            ).first()
            if row is None:
                raise NotFound
            membership, person = row
            if membership.until is not None and membership.until <= now:
                raise Conflict(f"{person.display_name} is no longer a member.")
            membership.until = now
            session.add(membership)
            withdrawn = session.exec(
                update(ExportPermission)
                .where(
                    col(ExportPermission.project_id) == project_id,
                    col(ExportPermission.person_id) == person.id,
                    col(ExportPermission.withdrawn_at).is_(None),
                )
                .values(withdrawn_at=now)
            )
            change.audit(
                actor.person_id,
                Action.MEMBER_REMOVE,
                AuditSubject("membership", membership.id, project_id),
                facts={"person": person.id, "export_permissions_withdrawn": withdrawn.rowcount},
            )
            revoke(
                change,
                EndedRight(
                    RevocationCause.MEMBER_REMOVED,
                    project_id,
                    actor.person_id,
                    "You are no longer a member of the project.",
                    person_id=person.id,
                ),
            )
            roles = roles_of(session, [person.id])[person.id]
        return _view(membership, person, utc_now(), reviewer=PlatformRole.REVIEWER in roles)


def members_of(session: Session, project_id: str, now: datetime) -> list[MemberView]:
    """Return every membership of a project: present ones first, then the newest."""
    rows = session.exec(
        select(Membership, Person)
        .join(Person, col(Person.id) == Membership.person_id)
        .where(Membership.project_id == project_id)
        .order_by(col(Membership.id).desc())
    ).all()
    roles = roles_of(session, [person.id for _, person in rows])
    views = [
        _view(row, person, now, reviewer=PlatformRole.REVIEWER in roles[person.id]) for row, person in rows
    ]
    return sorted(views, key=lambda member: not member.present)


def is_present_member(session: Session, project_id: str, person_id: str, now: datetime) -> bool:
    """Tell whether the person is a member of the project now."""
    found = session.exec(
        select(Membership.id).where(
            Membership.project_id == project_id,
            Membership.person_id == person_id,
            or_(col(Membership.until).is_(None), col(Membership.until) > now),
        )
    ).first()
    return found is not None


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _view(membership: Membership, person: Person, now: datetime, *, reviewer: bool) -> MemberView:
    return MemberView(
        id=membership.id,
        person=PersonRef.of(person),
        role=membership.role,
        since=membership.since,
        until=membership.until,
        present=membership.until is None or membership.until > now,
        reviewer=reviewer,
    )
