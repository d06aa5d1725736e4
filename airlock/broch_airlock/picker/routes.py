"""API of the picker."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_airlock.picker.schemas import Area, Pick, ZoneListing, ZonePath
from broch_airlock.picker.service import ZonePicker
from broch_airlock.requests.schemas import RequestView
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

router = Router("/api/v1/airlock", tag="airlock picker")
Picker = Annotated[ZonePicker, provided(ZonePicker)]


@router.get("/zones/{project_id}", action=Action.ZONE_BROWSE)
def list_zone(
    project_id: Id,
    actor: Who,
    picker: Picker,
    area: Area = Area.PROJECT,
    path: Annotated[ZonePath, Query(description="Folder below the area.")] = "",
) -> ZoneListing:
    """List a folder of the zone: the project's, or your own home in it."""
    return picker.list(actor, project_id, area, path)


@router.post("/picks", action=Action.AIRLOCK_CREATE, status_code=201)
def pick_files(body: Pick, actor: Who, picker: Picker) -> RequestView:
    """Copy files of the zone into a draft that leaves the project."""
    return picker.pick(actor, body)
