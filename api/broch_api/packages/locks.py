"""Lock files: what one would bring onto a list, and bringing it there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from sqlmodel import Session

from broch_api.packages.entries import adds, enter_step, near_names, open_project, standing
from broch_api.packages.registry import PackageRegistry
from broch_api.packages.schemas import LockAsk, LockedView, LockImport, LockTaken, LockView
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.errors import Conflict, Invalid
from broch_core.lifecycles import AllowanceStatus
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.packages import ListedPackage
from broch_workspaces.packages.locks import Lock, Locked, parse_lock

LIST = "package_list"
_STATES = {None: "new", AllowanceStatus.PROPOSED: "asked", AllowanceStatus.ALLOWED: "allowed"}


class LockDesk:
    """Reads lock files for people who want what is in them."""

    def __init__(self, store: Store, registry: PackageRegistry) -> None:
        self._store = store
        self._registry = registry

    def look(self, actor: Actor, body: LockAsk) -> LockView:
        """Return what a lock file would bring; nothing is changed.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for packages.
        """
        require(actor, Action.PACKAGE_ASK, Resource("project", body.project_id, body.project_id))
        data = body.content.encode()
        lock = parse_lock(body.filename, data)
        with self._store.read() as session:
            entries = _entries(session, body.project_id, lock.wanted)
        new = [entry for entry in entries if entry.state == "new"]
        return LockView(
            sha256=hashlib.sha256(data).hexdigest(),
            kind=None if lock.kind is None else lock.kind.value,
            entries=entries,
            new=len(new),
            near=sum(bool(entry.near) for entry in new),
            problems=[str(problem) for problem in lock.problems],
        )

    def take(self, actor: Actor, body: LockImport) -> LockTaken:
        """Ask for everything in a lock file that is neither allowed nor asked for.

        The registry is asked about each in the background; what an admin adds is allowed as its answer fits.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for packages.
            Invalid: nothing can be taken from the file.
            Conflict: all of it is known, the project has ended, or somebody asked for the same a moment ago.
        """
        require(actor, Action.PACKAGE_ASK, Resource("project", body.project_id, body.project_id))
        data = body.content.encode()
        lock = parse_lock(body.filename, data)
        if not lock.wanted:
            raise Invalid(_first_problem(lock), field="content")
        sha256 = hashlib.sha256(data).hexdigest()
        at_once = adds(actor, body.project_id)
        with self._store.write() as change:
            open_project(change.session, actor, body.project_id)
            known = standing(
                change.session, body.project_id, {one.wanted.ecosystem.value for one in lock.wanted}
            )
            new = [one for one in lock.wanted if _key(one) not in known]
            if not new:
                raise Conflict("Everything in this file is allowed or asked for already.", field="content")
            change.session.add_all(
                ListedPackage(
                    project_id=body.project_id,
                    ecosystem=one.wanted.ecosystem.value,
                    channel=one.wanted.channel,
                    name=one.wanted.name,
                    release=one.wanted.version,
                    pinned=[*one.digests],
                    lock_sha256=sha256,
                    lock_name=_shown_name(body.filename),
                    why=body.why,
                    licence_reason=body.licence_reason,
                    asked_by=actor.person_id,
                    allow_by=actor.person_id if at_once else None,
                )
                for one in new
            )
            change.audit(
                actor.person_id,
                Action.PACKAGE_ASK,
                AuditSubject(LIST, None, body.project_id),
                facts={"lock": sha256, "entries": len(new), "known": len(lock.wanted) - len(new)},
                personal={"why": body.why, "file": body.filename},
            )
            if self._registry.there:
                enter_step(change)
        problems = [str(problem) for problem in lock.problems]
        return LockTaken(sha256=sha256, added=len(new), known=len(lock.wanted) - len(new), problems=problems)


def _entries(session: Session, project_id: str | None, wanted: Sequence[Locked]) -> list[LockedView]:
    ecosystems = {one.wanted.ecosystem.value for one in wanted}
    known = standing(session, project_id, ecosystems)
    near = {ecosystem: near_names(session, project_id, ecosystem) for ecosystem in ecosystems}
    return [
        LockedView(
            ecosystem=one.wanted.ecosystem,
            channel=one.wanted.channel,
            name=one.wanted.name,
            version=one.wanted.version,
            digests=len(one.digests),
            line=one.line,
            state=_STATES[known.get(_key(one))],
            near=near[one.wanted.ecosystem.value].of(one.wanted.name),
        )
        for one in wanted
    ]


def _key(one: Locked) -> tuple[str, str, str, str]:
    return (one.wanted.ecosystem.value, one.wanted.channel, one.wanted.name, one.wanted.version)


def _shown_name(filename: str) -> str:
    return re.split(r"[/\\]", filename)[-1][:255]


def _first_problem(lock: Lock) -> str:
    return str(lock.problems[0]) if lock.problems else "The file asks for no packages."
