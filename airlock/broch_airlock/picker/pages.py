"""Pages of the picker."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from broch_airlock.picker.schemas import Area, Pick, ZoneFolder, ZoneListing, ZonePath
from broch_airlock.picker.service import ZonePicker
from broch_core.actions import Action
from broch_core.errors import Invalid, NotFound, TooLarge, TooMany
from broch_core.ids import Id
from broch_core.rules import Resource, require
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("/airlock/zones", kind=Kind.PAGE)
Picker = Annotated[ZonePicker, provided(ZonePicker)]
Shell = Annotated[Pages, provided(Pages)]
AREA_LABELS = {Area.PROJECT: "Project folder", Area.HOME: "My home"}


def _href(listing: ZoneListing, area: Area, path: str, request_id: str | None) -> str:
    query = {"area": area.value, "path": path, **({"request_id": request_id} if request_id else {})}
    return f"/airlock/zones/{listing.project_id}?{urlencode(query)}"


def _context(listing: ZoneListing, request_id: str | None, errors: dict[str, str]) -> dict[str, Any]:
    parts = listing.path.split("/") if listing.path else []
    crumbs = [{"label": AREA_LABELS[listing.area], "href": _href(listing, listing.area, "", request_id)}]
    crumbs += [
        {
            "label": part,
            "href": _href(listing, listing.area, "/".join(parts[: number + 1]), request_id),
        }
        for number, part in enumerate(parts)
    ]
    return {
        "listing": listing,
        "crumbs": crumbs,
        "tabs": [
            {
                "label": label,
                "href": _href(listing, area, "", request_id),
                "current": area is listing.area,
                "count": None,
            }
            for area, label in AREA_LABELS.items()
        ],
        "folders": {
            entry.path: _href(listing, listing.area, entry.path, request_id)
            for entry in listing.entries
            if entry.is_folder
        },
        "request_id": request_id,
        "errors": errors,
    }


@router.get("/{project_id}", action=Action.ZONE_BROWSE)
def zone_page(
    project_id: Id,
    request: Request,
    actor: Who,
    picker: Picker,
    shell: Shell,
    area: Area = Area.PROJECT,
    path: Annotated[ZonePath, Query()] = "",
    request_id: Id | None = None,
) -> Response:
    """Show a folder of the zone, to choose files that are to leave."""
    listing = picker.list(actor, project_id, area, path)
    return shell.render(request, "uploads/zone.html", _context(listing, request_id, {}))


@router.post("/{project_id}", action=Action.AIRLOCK_CREATE)
def pick_files(
    project_id: Id, request: Request, actor: Who, form: PostedForm, picker: Picker, shell: Shell
) -> Response:
    """Copy the chosen files into a draft, and go on to it."""
    require(actor, Action.AIRLOCK_CREATE, Resource(project_id=project_id))
    request_id = form["request_id"]
    values = {"project_id": project_id, "area": form["area"], "request_id": request_id}
    checked = check(Pick, {**values, "paths": form.all("paths")})
    errors = {"": "Choose at least one file."} if "paths" in checked.errors else dict(checked.errors)
    if checked.body is not None:
        try:
            view = picker.pick(actor, checked.body)
            return shell.redirect(
                f"/airlock/requests/{view.id}", "The files are copied. Look at them, then submit."
            )
        except (Invalid, NotFound, TooLarge, TooMany) as error:
            errors = {"": error.detail}
    folder = check(ZoneFolder, {"area": form["area"], "path": form["path"]}).body or ZoneFolder()
    listing = picker.list(actor, project_id, folder.area, folder.path)
    return shell.render(
        request, "uploads/zone.html", _context(listing, request_id or None, errors), status=422
    )
