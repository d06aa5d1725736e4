"""`broch workspace`: your running notebooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.calls import Call, command, group
from broch.cli.client import segment
from broch.cli.failure import Failure

app = group("Your running notebooks.", "broch workspace open tumour-texture", "broch workspace list")

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
Shared = Annotated[bool, typer.Option("--shared", help="The one that the project's members share.")]
_Row = Mapping[str, Any]
_PATIENCE_SECONDS = 180.0
"""Longer than the server lets a start take before it calls it failed."""
_LOOK_SECONDS = 0.5
_GOING = frozenset({"starting", "stopping"})


@command(app, "list", "broch workspace list")
def list_workspaces(call: Call, limit: Limit = 50) -> None:
    """List your workspaces; an administrator sees everybody's."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "PROJECT": lambda row: row["project"]["slug"],
        "PERSON": lambda row: row["person"]["handle"] if row["person"] else "(shared)",
        "STATUS": lambda row: row["status"],
        "OPENED": lambda row: output.when(row["opened_at"]),
        "STOPS": lambda row: output.when(row["deadline_at"]),
        "SHOWN": lambda row: output.size(row["start_bytes"]) + (" ALARM" if row["alarm_at"] else ""),
        "MESSAGE": lambda row: row["message"],
        "ID": lambda row: row["id"],
    }
    found = call.api.pages("workspaces", limit=limit)
    call.rows(found, columns, empty="No workspaces. Open one: broch workspace open PROJECT")


@command(app, "open", "broch workspace open tumour-texture")
def open_workspace(
    call: Call,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Slug, id, or part of an id.")],
    shared: Shared = False,
) -> None:
    """Open your workspace in a project, wait until it runs, and print its address for a browser.

    Ctrl-C stops the waiting, not the workspace. In the browser you sign in as yourself.
    """
    id_ = lookup.project(call.api, project)
    found = (
        _settled_shared(call, id_, call.api.post(f"projects/{segment(id_)}/shared-workspace/open", {}))
        if shared
        else _settled(call, call.api.post("workspaces", {"project_id": id_}))
    )
    if found["status"] != "running":
        why = str(found["message"] or "").partition("\n")[0]
        raise Failure(
            f"The workspace is {found['status']}. {why}".strip(), "Try again, or ask your administrator."
        )
    call.done(found, found["page"])
    stop = f"broch workspace stop {project}{' --shared' if shared else ''}"
    output.note(f"It runs until {output.when(found['deadline_at'])}. Stop it: {stop}")


@command(app, "stop", "broch workspace stop tumour-texture")
def stop_workspace(
    call: Call,
    workspace: Annotated[
        str,
        typer.Argument(
            metavar="WORKSPACE", help="Project of your own one, or the id of a workspace or part of it."
        ),
    ],
    shared: Shared = False,
) -> None:
    """Stop a workspace. Its rights end at once; its files stay."""
    if shared:
        id_ = lookup.project(call.api, workspace)
        stopped = call.api.post(f"projects/{segment(id_)}/shared-workspace/stop")
        found = _settled_shared(call, id_, stopped)
        call.done(found, f"The shared workspace of {found['project']['slug']} is {found['status']}.")
        return
    me = call.api.get("sessions/current")["person"]["id"]
    known = call.api.pages("workspaces", limit=lookup.MOST)
    of_project = [
        row
        for row in known
        if row["project"]["slug"] == workspace and row["person"] and row["person"]["id"] == me
    ]
    id_ = of_project[0]["id"] if of_project else lookup.pick("workspace", workspace, known)
    found = _settled(call, call.api.post(f"workspaces/{segment(id_)}/stop"))
    call.done(found, f"The workspace in {found['project']['slug']} is {found['status']}.")


def _settled_shared(call: Call, project_id: str, answer: _Row) -> _Row:
    """Wait the same for the workspace that a project's members share."""

    def read(_: _Row) -> _Row:
        return _shared(call.api.get(f"projects/{segment(project_id)}/shared-workspace"))

    return _settled(call, _shared(answer), read)


def _shared(answer: _Row) -> _Row:
    if answer["workspace"] is None:
        raise Failure("There is no shared workspace.", "Open it: broch workspace open PROJECT --shared")
    found: _Row = answer["workspace"]
    return found


def _settled(call: Call, found: _Row, read: Callable[[_Row], _Row] | None = None) -> _Row:
    """Wait until a workspace neither starts nor stops; say how far it is, apart from the result."""
    began, said = time.monotonic(), ""
    while found["status"] in _GOING:
        waited = time.monotonic() - began
        if waited > _PATIENCE_SECONDS:
            raise Failure(
                f"The workspace is still {found['status']} after {waited:.0f} s.",
                "See how it is: broch workspace list",
            )
        stage = "the sandbox starts" if found["planned"] else "rights and data are checked"
        line = f"{found['status']}: {stage}" if found["status"] == "starting" else str(found["status"])
        if line != said:
            said = line
            output.note(output.plain(line))
        time.sleep(_LOOK_SECONDS)
        found = read(found) if read is not None else call.api.get(f"workspaces/{segment(found['id'])}")
    return found
