"""Choosing results in the folders of a zone, from outside: for `broch airlock browse` and `pick`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from broch.cli import airlock_shown, lookup, output
from broch.cli.calls import Call
from broch.cli.client import segment

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug, id, or part of an id.")]
_Row = Mapping[str, Any]


class Area(StrEnum):
    """Which folder of the zone: /project, which members share, or your own home."""

    PROJECT = "project"
    HOME = "home"


AreaOption = Annotated[Area, typer.Argument(metavar="AREA", help="project (shared) or home (yours).")]


def browse(
    call: Call,
    project: Project,
    area: AreaOption = Area.PROJECT,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Below the area.")] = "",
) -> None:
    """List a folder of your project's zone, to see what can be picked."""
    where = f"airlock/zones/{segment(lookup.project(call.api, project))}"
    found = call.api.get(where, area=area.value, path=folder.strip("/"))
    columns: Mapping[str, Callable[[_Row], object]] = {
        "PATH": lambda row: row["path"] + ("/" if row["is_folder"] else ""),
        "SIZE": lambda row: "-" if row["is_folder"] else output.size(row["size"]),
        "MODIFIED": lambda row: output.when(row["modified_at"]),
        "MAY NOT CROSS": lambda row: row["refusal"],
    }
    call.rows(found["entries"], columns, empty="The folder is empty.")
    if found["truncated"]:
        output.note("There is more in this folder than is shown.")
    if found["left_out"]:
        output.note(f"{found['left_out']} links and other things that cannot be chosen are left out.")


def pick(
    call: Call,
    project: Project,
    area: AreaOption,
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Files below the area.")],
    purpose: Annotated[str, typer.Option(help="What for, in one line.")] = "",
    description: Annotated[str, typer.Option(help="More about it.")] = "",
    request: Annotated[str | None, typer.Option(metavar="ID", help="Add to this draft of yours.")] = None,
) -> None:
    """Copy files of your project's zone into a draft that leaves it. Nothing leaves before it is submitted."""
    api = call.api
    body: dict[str, Any] = {
        "project_id": lookup.project(api, project),
        "area": area.value,
        "paths": paths,
        "purpose": purpose,
        "description": description,
    }
    if request is not None:
        body["request_id"] = lookup.airlock_request(api, request)
    found = api.post("airlock/picks", body, patient=True)
    call.show(found, lambda: airlock_shown.draft(found))
