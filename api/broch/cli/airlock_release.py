"""Releases, for platform admins: for `broch airlock releases`, `retry` and `recall`; and the list of recalls, for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.airlock_download import save
from broch.cli.calls import Call, confirm
from broch.cli.client import Api, segment

Request = Annotated[str, typer.Argument(metavar="ID", help="Id of the request, or its beginning or end.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
_Row = Mapping[str, Any]


def releases(call: Call, limit: Limit = 50) -> None:
    """List what was released, recalled or failed, without names or content. For platform admins."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "ID": lambda row: row["id"],
        "WAY": lambda row: row["direction"],
        "STATUS": lambda row: row["status"],
        "FILES": lambda row: row["files"],
        "PROJECT": lambda row: row["project"],
        "RELEASED": lambda row: output.when(row["released_at"]) if row["released_at"] else "-",
        "MESSAGE": lambda row: row["message"] or "-",
    }
    call.rows(call.api.pages("airlock/releases", limit=limit), columns, empty="Nothing was released yet.")


def retry(call: Call, request: Request) -> None:
    """Try a failed release again. For platform admins."""
    found = call.api.post(f"airlock/requests/{segment(_id(call.api, request))}/retry")
    call.done(found, f"{found['id']} is {found['status']}.")


def recall(
    call: Call,
    request: Request,
    reason: Annotated[str, typer.Option(help="Why; members and reviewers read it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Recall a release: no more downloads, imports are taken back, the list of recalls names it. For platform admins."""
    request_id = _id(call.api, request)
    if not yes:
        confirm("Recall this release for good? What was downloaded before stays where it is.")
    found = call.api.post(f"airlock/requests/{segment(request_id)}/recall", {"reason": reason})
    call.done(found, f"{found['id']} is {found['status']}.")


def recalls(
    call: Call,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Print the signed list of recalled releases, or save it. `broch verify --recalls` takes it."""
    data = call.api.send("GET", "airlock/recalls.json").content
    if to is None:
        output.say(data.decode("utf-8").rstrip("\n"))
    else:
        save(to, [data], force=force)
        output.note(f"Saved {to}.")


def _id(api: Api, text: str) -> str:
    if lookup.is_id(text):
        return text
    return lookup.pick("release", text, api.pages("airlock/releases", limit=lookup.MOST))
