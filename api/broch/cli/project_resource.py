"""`broch project resource`: addresses outside that a project may read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.calls import Call, command, group
from broch.cli.client import segment

app = group(
    "Addresses outside that a project may read.",
    "broch project resource list bone-age",
    "broch project resource add bone-age genes https://example.org/genes.tsv --largest 5000000 --why 'Gene names.'",
)

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug, id, or part of an id.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, its id, or part of that.")]
Reason = Annotated[str, typer.Option(help="Who asked reads it.")]
_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "NAME": lambda row: row["slug"],
    "ADDRESS": lambda row: row["url"],
    "AT MOST": lambda row: output.size(row["largest"]),
    "STATUS": lambda row: row["status"],
    "ASKED BY": lambda row: row["asked_by"]["handle"],
    "ID": lambda row: row["id"],
}


@command(app, "list", "broch project resource list bone-age")
def list_resources(
    call: Call,
    project: Project,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, newest first.")] = 50,
) -> None:
    """List the outside addresses of a project."""
    path = f"projects/{segment(lookup.project(call.api, project))}/resources"
    call.rows(call.api.pages(path, limit=limit), _COLUMNS, empty="The project has none.")


@command(
    app,
    "add",
    "broch project resource add bone-age genes https://example.org/genes.tsv --largest 5000000 --why 'Gene names.'",
)
def add(
    call: Call,
    project: Project,
    name: Annotated[str, typer.Argument(help="Its name in the zone: /resources/NAME.")],
    url: Annotated[str, typer.Argument(help="With https://, and one file behind it.")],
    largest: Annotated[int, typer.Option(min=1, metavar="BYTES", help="What it may have at most.")],
    why: Annotated[str, typer.Option(help="Who decides reads it.")],
    sha256: Annotated[str | None, typer.Option(help="Of its bytes, where they do not change.")] = None,
) -> None:
    """Ask for an address; what an administrator asks for others is allowed at once."""
    path = f"projects/{segment(lookup.project(call.api, project))}/resources"
    body = {"slug": name, "url": url, "largest": largest, "why": why, "sha256": sha256}
    made = call.api.post(path, body)
    call.done(made, f"{made['slug']} is {made['status']}.")


@command(app, "approve", "broch project resource approve bone-age genes")
def approve(call: Call, project: Project, name: Name) -> None:
    """Allow an address that somebody else asked for (administrator)."""
    made = call.api.post(_path(call, project, name, "approve"))
    call.done(made, f"{made['slug']} is {made['status']}.")


@command(app, "decline", "broch project resource decline bone-age genes --reason 'It is in the data.'")
def decline(call: Call, project: Project, name: Name, reason: Reason) -> None:
    """End a request; who asked may take theirs back."""
    made = call.api.post(_path(call, project, name, "decline"), {"reason": reason})
    call.done(made, f"{made['slug']} is {made['status']}.")


@command(app, "remove", "broch project resource remove bone-age genes --reason 'It moved.'")
def remove(call: Call, project: Project, name: Name, reason: Reason) -> None:
    """Take an address away now (administrator)."""
    made = call.api.post(_path(call, project, name, "remove"), {"reason": reason})
    call.done(
        made, f"{made['slug']} is {made['status']}. Undo: broch project resource again {project} {name}"
    )


@command(app, "again", "broch project resource again bone-age genes")
def again(call: Call, project: Project, name: Name) -> None:
    """Ask once more for what was declined or removed."""
    made = call.api.post(_path(call, project, name, "again"))
    call.done(made, f"{made['slug']} is {made['status']}.")


def _path(call: Call, project: str, name: str, verb: str) -> str:
    found = lookup.resource(call.api, lookup.project(call.api, project), name)
    return f"resources/{segment(found)}/{verb}"
