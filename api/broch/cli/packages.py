"""`broch packages`: what workspaces may fetch from registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.calls import Call, command, group
from broch.cli.client import segment
from broch.cli.failure import Failure, Misused

app = group(
    "What workspaces may fetch from PyPI, CRAN, conda and npm.",
    "broch packages list --status proposed",
    "broch packages import uv.lock --project bone-age --why 'For the age model.'",
)

Package = Annotated[str, typer.Argument(metavar="PACKAGE", help="NAME, NAME@VERSION, id, or part of an id.")]
ForProject = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="For this project; else for all.")
]
Why = Annotated[str, typer.Option(help="Who decides reads it.")]
Reason = Annotated[str, typer.Option(help="Who asked reads it.")]
LicenceReason = Annotated[
    str, typer.Option(help="Why a licence that is not on the policy's list may be used all the same.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
_Row = Mapping[str, Any]


class Ecosystem(StrEnum):
    """Where a package is from."""

    PYPI = "pypi"
    CRAN = "cran"
    CONDA = "conda"
    NPM = "npm"


class Status(StrEnum):
    """States of an entry."""

    PROPOSED = "proposed"
    ALLOWED = "allowed"
    DECLINED = "declined"
    REMOVED = "removed"


_COLUMNS: Mapping[str, Callable[[_Row], object]] = {
    "PACKAGE": lambda row: f"{row['name']}@{row['version']}",
    "FROM": lambda row: row["channel"] or row["ecosystem"],
    "FOR": lambda row: row["project"]["slug"] if row["project"] else "all projects",
    "STATUS": lambda row: row["status"],
    "LOOKUP": lambda row: row["lookup"],
    "LICENCE": lambda row: row["licence"] or "-",
    "PROBLEM": lambda row: row["problem"] or "-",
    "ASKED BY": lambda row: row["asked_by"]["handle"],
    "ID": lambda row: row["id"],
}


@command(app, "list", "broch packages list", "broch packages list --project bone-age --status proposed")
def list_packages(
    call: Call,
    project: Annotated[str | None, typer.Option(metavar="PROJECT", help="Only of this project.")] = None,
    ecosystem: Annotated[Ecosystem | None, typer.Option(help="Only from there.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only in this state.")] = None,
    name: Annotated[str, typer.Option(help="Only with this in its name.")] = "",
    limit: Limit = 50,
) -> None:
    """List what all projects may install, and what yours may or asked for."""
    query = {
        "project_id": lookup.project(call.api, project) if project else None,
        "ecosystem": ecosystem.value if ecosystem else None,
        "status": status.value if status else None,
        "q": name or None,
    }
    wanted = {key: value for key, value in query.items() if value}
    call.rows(call.api.pages("packages", limit=limit, **wanted), _COLUMNS, empty="Nothing is on the lists.")


@command(app, "show", "broch packages show lifelines@0.30.0")
def show(call: Call, package: Package) -> None:
    """Show an entry with its files and their digests."""
    found = call.api.get(f"packages/{segment(lookup.package(call.api, package))}")
    call.show(found, lambda: _detail(found))


@command(app, "add", "broch packages add pypi lifelines 0.30.0 --project bone-age --why 'Survival curves.'")
def add(
    call: Call,
    ecosystem: Annotated[Ecosystem, typer.Argument(help="Where it is from.")],
    name: Annotated[str, typer.Argument(help="Its name there.")],
    version: Annotated[str, typer.Argument(help="Exactly one.")],
    why: Why,
    project: ForProject = None,
    channel: Annotated[str, typer.Option(help="conda's, such as conda-forge.")] = "",
    licence_reason: LicenceReason = "",
) -> None:
    """Ask for one version; what an administrator asks for others is allowed at once."""
    body = {
        "project_id": lookup.project(call.api, project) if project else None,
        "ecosystem": ecosystem.value,
        "name": name,
        "version": version,
        "channel": channel,
        "why": why,
        "licence_reason": licence_reason,
    }
    made = call.api.post("packages", body)
    call.done(made, f"{made['name']} {made['version']} is {made['status']}: {made['file_count']} files.")


@command(app, "import", "broch packages import uv.lock --project bone-age --why 'For the age model.'")
def import_lock(
    call: Call,
    file: Annotated[Path, typer.Argument(help="A lock file; its name tells the format.")],
    why: Why,
    project: ForProject = None,
    licence_reason: LicenceReason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would bring.")] = False,
) -> None:
    """Ask for everything in a lock file. The registry is asked about each entry in the background."""
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"'{file}' cannot be read: {error}.") from None
    body = {
        "project_id": lookup.project(call.api, project) if project else None,
        "filename": file.name,
        "content": content,
    }
    seen = call.api.post("packages/lock-files/preview", body)
    for problem in seen["problems"]:
        output.note(output.plain(problem))
    for one in seen["entries"]:
        if one["near"] and one["state"] == "new":
            output.note(output.plain(f"{one['name']} looks like {', '.join(one['near'])}: is it meant?"))
    if dry_run:
        call.done(seen, f"{seen['new']} of {len(seen['entries'])} are not on the list yet.")
        return
    taken = call.api.post("packages/lock-files", {**body, "why": why, "licence_reason": licence_reason})
    call.done(taken, f"{taken['added']} are asked for, {taken['known']} were known before.")


@command(app, "approve", "broch packages approve lifelines@0.30.0 --project bone-age")
def approve(
    call: Call,
    packages: Annotated[list[str] | None, typer.Argument(metavar="PACKAGE...", help="Which.")] = None,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Look for them on this project's list.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Everything of the project that its registry has confirmed.")
    ] = False,
    licence_reason: LicenceReason = "",
) -> None:
    """Allow what somebody else asked for, all of it or nothing (administrator)."""
    query = _waiting(call, project)
    if every == bool(packages) or (every and project is None):
        raise Misused("Name packages, or give --project and --all.", "broch packages approve --help")
    if every:
        rows = call.api.pages("packages", limit=lookup.MOST, **query)
        ids = [row["id"] for row in rows if row["lookup"] == "done"]
    else:
        ids = [lookup.package(call.api, one, **query) for one in packages or ()]
    done: list[Any] = []
    for at in range(0, len(ids), 200):
        body = {"ids": ids[at : at + 200], "licence_reason": licence_reason}
        done += call.api.post("packages/approvals", body)
    call.done(done, f"{len(done)} may be installed from now on.")


@command(app, "decline", "broch packages decline lifelines@0.30.0 --reason 'Use the one we have.'")
def decline(
    call: Call,
    packages: Annotated[list[str], typer.Argument(metavar="PACKAGE...", help="Which.")],
    reason: Reason,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Look for them on this project's list.")
    ] = None,
) -> None:
    """End requests; who asked may take theirs back."""
    query = _waiting(call, project)
    ids = [lookup.package(call.api, one, **query) for one in packages]
    done = call.api.post("packages/refusals", {"ids": ids, "reason": reason})
    call.done(done, f"{len(done)} are declined.")


@command(app, "remove", "broch packages remove lifelines@0.30.0 --reason 'Nobody maintains it.'")
def remove(call: Call, package: Package, reason: Reason) -> None:
    """Take an entry off its list now; what was installed stays installed (administrator)."""
    id_ = lookup.package(call.api, package, status="allowed")
    gone = call.api.post(f"packages/{segment(id_)}/remove", {"reason": reason})
    call.done(
        gone,
        f"{gone['name']} {gone['version']} can no longer be fetched. Undo: broch packages again {gone['id']}",
    )


@command(app, "again", "broch packages again lifelines@0.30.0")
def again(call: Call, package: Package) -> None:
    """Ask once more for what was declined or removed, with the same files."""
    made = call.api.post(f"packages/{segment(lookup.package(call.api, package))}/again")
    call.done(made, f"{made['name']} {made['version']} is {made['status']}.")


def _waiting(call: Call, project: str | None) -> dict[str, str]:
    query = {"status": "proposed"}
    return query | {"project_id": lookup.project(call.api, project)} if project else query


def _detail(found: _Row) -> None:
    output.details(
        {
            "package": f"{found['name']} {found['version']}",
            "from": " ".join(filter(None, [found["ecosystem"], found["channel"]])),
            "for": found["project"]["slug"] if found["project"] else "all projects",
            "status": found["status"],
            "lookup": found["lookup"],
            "problem": found["problem"],
            "licence": found["licence"] or "-",
            "why": found["why"],
            "asked by": found["asked_by"]["display_name"],
            "decided by": found["decided_by"]["display_name"] if found["decided_by"] else None,
            "lock file": found["lock_name"],
            "looks like": ", ".join(found["near"]) or "-",
        }
    )
    output.heading("Files")
    output.table(
        ["FILE", "SIZE", "DIGEST"],
        [
            [row["name"], output.size(row["size"]) if row["size"] is not None else "-", row["digests"][0]]
            for row in found["files"]
        ],
        empty="No file is known yet.",
    )
