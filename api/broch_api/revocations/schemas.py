"""What the API says of revocations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from broch_api.people.schemas import PersonRef
from broch_api.revocations.confirming import confirmed_of
from broch_core.ids import Id
from broch_core.revocations import LIMIT, RevocationCause, RevocationStep, steps_of
from broch_core.tables.people import Person
from broch_core.tables.revocations import Revocation

CAUSES: Mapping[RevocationCause, str] = {
    RevocationCause.MEMBER_REMOVED: "Member removed",
    RevocationCause.MEMBER_EXPIRED: "Membership over",
    RevocationCause.GRANT_REVOKED: "Grant revoked",
    RevocationCause.GRANT_EXPIRED: "Grant over",
    RevocationCause.DATA_SUSPENDED: "Data suspended",
    RevocationCause.PROJECT_FROZEN: "Project frozen",
    RevocationCause.PROJECT_ENDED: "Project ended",
    RevocationCause.PROJECT_EXPIRED: "Project over",
    RevocationCause.TRE_FROZEN: "Whole TRE frozen",
}
STEPS: Mapping[RevocationStep, str] = {
    RevocationStep.RIGHTS: "rights taken",
    RevocationStep.HUB: "notebook server and its sign-ins gone",
    RevocationStep.PODS: "pods gone",
    RevocationStep.TOKENS: "tokens dead",
    RevocationStep.VOLUMES: "volumes detached",
}


class RevocationStepView(BaseModel):
    """One step."""

    step: RevocationStep
    title: str = Field(examples=["pods gone"])
    confirmed_at: datetime | None = Field(description="When it was seen; null: not yet.")
    seconds: float | None = Field(description="From the end of the right until then.", examples=[7.4])


class RevocationView(BaseModel):
    """One right that ended."""

    id: Id
    project_id: Id
    cause: RevocationCause
    title: str = Field(examples=["Member removed"])
    reason: str
    person: PersonRef | None = Field(description="Whose right ended; null: the whole project's.")
    by: PersonRef | None = Field(description="Who ended it; null: its time was over.")
    begun_at: datetime
    workspaces: int = Field(description="Workspaces that ran or were starting.")
    steps: list[RevocationStepView]
    done_at: datetime | None
    late: bool = Field(description=f"It took, or takes, longer than {LIMIT.seconds} s.")

    @classmethod
    def of(cls, row: Revocation, people: Mapping[str, Person], *, on_cluster: bool) -> Self:
        """Make one from a row and the persons that it names."""
        confirmed = confirmed_of(row)
        named = {
            name: PersonRef.of(people[id_]) if id_ in people else None
            for name, id_ in (("person", row.person_id or ""), ("by", row.actor_id))
        }
        return cls(
            id=row.id,
            project_id=row.project_id,
            cause=row.cause,
            title=CAUSES[row.cause],
            reason=row.reason,
            person=named["person"],
            by=named["by"],
            begun_at=row.begun_at,
            workspaces=len(row.starts),
            steps=[
                RevocationStepView(
                    step=step,
                    title=STEPS[step],
                    confirmed_at=(at := confirmed.get(step)),
                    seconds=None if at is None else round((at - row.begun_at).total_seconds(), 1),
                )
                for step in steps_of(row.cause, on_cluster=on_cluster)
            ],
            done_at=row.done_at,
            late=row.late_at is not None,
        )

    @property
    def told(self) -> str:
        """Say in one sentence how far it is."""
        if not self.workspaces and self.done_at and not self.late:
            return "Nothing ran."
        seen = [
            one for one in self.steps if one.seconds is not None and one.step is not RevocationStep.RIGHTS
        ]
        done = ", ".join(f"{one.title} after {one.seconds:g} s" for one in seen)
        waits = ", ".join(one.title for one in self.steps if one.confirmed_at is None)
        words = [f"{done[:1].upper()}{done[1:]}."] if done else []
        if waits:
            words.append(f"Not seen yet: {waits}.")
        if self.late:
            words.append("It took too long." if self.done_at else "It takes too long; it goes on by itself.")
        return " ".join(words)
