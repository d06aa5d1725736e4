"""What must happen outside the database when a right ends."""

from __future__ import annotations

from broch_core.clock import utc_now
from broch_core.store.unit import Change


def stop_workspaces(
    change: Change, *, cause: str, project_id: str, reason: str, person_id: str | None = None
) -> None:
    """Have the workspaces of a project, or of one person in it, stopped after the commit.

    Args:
        change: the transaction in which the right ends.
        cause: id of the audit record; makes the key of the effect unique.
        project_id: whose workspaces.
        reason: what the researcher reads.
        person_id: only this person's; everybody's when absent.
    """
    change.later(
        "workspace.stop",
        f"workspace.stop:{cause}:{project_id}",
        {
            "project_id": project_id,
            "person_id": person_id,
            "at": utc_now().isoformat(),
            "reason": reason,
        },
    )
