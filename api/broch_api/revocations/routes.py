"""API of revocations."""

from __future__ import annotations

from typing import Annotated

from broch_api.revocations.schemas import RevocationView
from broch_api.revocations.service import RevocationDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

router = Router("/api/v1/projects/{project_id}/revocations", tag="projects")
Desk = Annotated[RevocationDesk, provided(RevocationDesk)]


@router.get("", action=Action.PROJECT_READ)
def list_revocations(project_id: Id, actor: Who, desk: Desk) -> list[RevocationView]:
    """List the newest rights that ended in a project, and what of each was seen gone after how many seconds."""
    return desk.of_project(actor, project_id)
