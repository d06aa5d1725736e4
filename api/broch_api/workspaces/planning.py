"""The spawn plan of a workspace that is starting: everything it is given, and nothing else."""

from __future__ import annotations

from broch_api.workspaces.premises import Premises
from broch_api.workspaces.reports import start_of
from broch_api.workspaces.rights import deadline, idle_seconds, longest_run, should_run
from broch_api.workspaces.rows import find_principal, standing_of
from broch_core.actions import Action
from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import WorkspaceStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_workspaces.plan import Mount, SpawnPlan


class SpawnPlanner:
    """Answers the hub: may this workspace start, and with what?"""

    def __init__(self, store: Store, premises: Premises, settings: Settings) -> None:
        self._store = store
        self._premises = premises
        self._settings = settings

    def plan(self, principal: str) -> SpawnPlan:
        """Return the plan of a workspace that may start now, with a key to the door made for this answer alone.

        Raises:
            NotFound: nobody has this principal.
            Conflict: it may not start now, with the reason.
        """
        now = utc_now()
        with self._store.write() as change:
            row = find_principal(change.session, principal, lock=True)
            if row.status is not WorkspaceStatus.STARTING:
                raise Conflict("This workspace was not asked for. Open it from your project's page.")
            standing = standing_of(change.session, row, now)
            decision = should_run(standing.facts(starting=True), now)
            if not decision.allowed:
                raise Conflict(decision.reason)
            place = self._premises.place(row)
            until = deadline(
                row.opened_at or now,
                longest_run(self._settings.workspace_lifetime, place.hours),
                project_ends_on=standing.project.ends_on,
                member_until=standing.member_until,
                grants_until=[grant.until for grant, _, _ in standing.grants],
            )
            row.door_token_hash = place.door_hash
            row.grant_ids = [grant.id for grant, _, _ in standing.grants]
            row.deadline_at = until
            change.session.add(row)
            change.audit(
                SYSTEM,
                Action.HUB_PLAN,
                AuditSubject("workspace", row.id, row.project_id),
                facts={
                    "person": row.person_id,
                    "versions": [version.id for _, version, _ in standing.grants],
                    "deadline": until.isoformat(),
                },
            )
        data = [
            Mount(
                source=self._premises.data(version.id),
                target=f"/data/{dataset.slug}",
                read_only=True,
            )
            for _, version, dataset in standing.grants
        ]
        shared = [
            Mount(source=self._premises.imports(row.project_id), target="/imports", read_only=True),
            Mount(source=self._premises.project(row.project_id), target="/project", read_only=False),
        ]
        idle, warn = idle_seconds(
            self._settings.workspace_idle,
            self._settings.workspace_idle_warning,
            standing.project.idle_minutes,
        )
        return SpawnPlan(
            workspace_id=row.id,
            principal=row.principal,
            project_id=row.project_id,
            project_name=standing.project.name,
            profile=place.profile,
            mounts=(*data, *shared),
            home=None if row.person_id is None else self._premises.home(row.project_id, row.person_id),
            shared=row.person_id is None,
            deadline_at=until,
            idle_seconds=idle,
            warn_seconds=warn,
            start=start_of(place.door_hash),
            door_token="" if row.person_id is None else place.door_token,
            cluster=place.cluster,
        )
