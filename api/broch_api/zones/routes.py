"""Internal API for the controller: what zones shall be, and what they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from broch_api.internal.credentials import ControllerOnly
from broch_api.zones.service import LONGEST_WAIT, ZoneRegister
from broch_core.actions import Action
from broch_core.web.routing import Kind, Router, provided
from broch_workspaces.cluster.spec import Ulid, ZoneReport, ZoneSpecs

router = Router("/internal/v1/zones", kind=Kind.SERVICE)
Register = Annotated[ZoneRegister, provided(ZoneRegister)]


class ReportTaken(BaseModel):
    """Whether a report changed anything."""

    changed: bool


@router.get("", action=Action.ZONE_PLAN, dependencies=[ControllerOnly])
def zone_specs(
    register: Register,
    after: Annotated[str, Query(max_length=16)] = "",
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
) -> ZoneSpecs:
    """Say what every zone shall be; wait for a change of `after` for at most `wait` seconds."""
    return register.wait(after, wait)


@router.post("/{project_id}/report", action=Action.ZONE_REPORT, dependencies=[ControllerOnly])
def report_zone(project_id: Ulid, body: ZoneReport, register: Register) -> ReportTaken:
    """Take the controller's word about one zone."""
    return ReportTaken(changed=register.report(project_id, body))
