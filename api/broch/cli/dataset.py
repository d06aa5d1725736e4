"""`broch dataset`: datasets, versions, grants, permissions to export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.calls import Call, command, group
from broch.cli.client import segment
from broch.cli.dataset_upload import send_folder
from broch.cli.failure import Failure

app = group(
    "Datasets, versions, grants, permissions to export.",
    "broch dataset list",
    "broch dataset add-version wisconsin ./release-2 --seal",
)

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="Slug, id, or part of an id.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="SLUG for the newest, SLUG@2, or an id.")]
Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug, name, id, or part of an id.")]
Handle = Annotated[str, typer.Argument(metavar="PERSON", help="Handle, or the id of a person.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
_Row = Mapping[str, Any]


class GrantKind(StrEnum):
    """What a grant is for."""

    MOUNT = "mount"
    VALIDATION_ONLY = "validation-only"


@command(app, "list", "broch dataset list")
def list_datasets(call: Call, limit: Limit = 50) -> None:
    """List the catalogue."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "SLUG": lambda row: row["slug"],
        "TITLE": lambda row: row["title"],
        "OWNER": lambda row: row["owner"]["display_name"],
        "CREATED": lambda row: output.when(row["created_at"]),
        "ID": lambda row: row["id"],
    }
    call.rows(call.api.pages("datasets", limit=limit), columns, empty="The catalogue is empty.")


@command(app, "show", "broch dataset show wisconsin")
def show(call: Call, dataset: Dataset) -> None:
    """Show a dataset: its versions, and the grants and permissions that you may see."""
    path = f"datasets/{segment(lookup.dataset(call.api, dataset))}"
    found = call.api.get(path)
    found["grants"] = call.api.get(f"{path}/grants")
    found["export_permissions"] = call.api.get(f"{path}/export-permissions")
    call.show(found, lambda: _detail(found))


@command(app, "create", "broch dataset create hand-xrays --title 'Hand X-rays' --owner idris")
def create(
    call: Call,
    slug: Annotated[str, typer.Argument(help="Its folder in workspaces: /data/SLUG.")],
    title: Annotated[str, typer.Option(help="Its title.")],
    owner: Annotated[str, typer.Option(help="Handle of the information asset owner.")],
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    licence: Annotated[str, typer.Option(help="Its terms.")] = "",
) -> None:
    """Register a dataset."""
    body = {"slug": slug, "title": title, "owner": owner, "description": description, "licence": licence}
    made = call.api.post("datasets", body)
    call.done(
        made, f"Registered {made['slug']}. Add data: broch dataset add-version {made['slug']} PATH --seal"
    )


@command(app, "add-version", "broch dataset add-version hand-xrays ./xrays --seal")
def add_version(
    call: Call,
    dataset: Dataset,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder whose files become the version.")],
    seal: Annotated[bool, typer.Option("--seal", help="Then seal it: nothing changes it any more.")] = False,
) -> None:
    """Send a folder, file by file. Run again after a break: files that are there already are not sent twice."""
    version = send_folder(call.api, lookup.dataset(call.api, dataset), path)
    if seal:
        version = call.api.post(f"dataset-versions/{segment(version['id'])}/seal", patient=True)
    what = f"Version {version['number']} is {version['status']}: {version['file_count']} files, "
    more = f", manifest sha256 {version['manifest_sha256']}" if version["manifest_sha256"] else ""
    call.done(version, f"{what}{output.size(version['total_bytes'])}{more}.")


@command(app, "files", "broch dataset files hand-xrays@1")
def list_files(
    call: Call,
    version: Version,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many at most.")] = 1000,
) -> None:
    """List the files of a version, in the order of their paths."""
    where = f"dataset-versions/{segment(lookup.version(call.api, version)['id'])}/files"
    columns: Mapping[str, Callable[[_Row], object]] = {
        "PATH": lambda row: row["path"],
        "SIZE": lambda row: output.size(row["size"]),
        "SHA256": lambda row: row["sha256"],
    }
    call.rows(call.api.pages(where, limit=limit, cursor="after"), columns, empty="No files yet.")


@command(app, "remove-file", "broch dataset remove-file hand-xrays images/hand-7.dcm")
def remove_file(
    call: Call,
    version: Version,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Path of the file in the version.")],
) -> None:
    """Take a file out of a version that is still open."""
    found = lookup.version(call.api, version)
    where = "/".join(segment(part) for part in path.split("/"))
    call.api.delete(f"dataset-versions/{segment(found['id'])}/files/{where}")
    call.done(
        {"version_id": found["id"], "path": path}, f"{path} is out of version {found['number']} of {version}."
    )


@command(app, "verify", "broch dataset verify hand-xrays", "broch dataset verify hand-xrays@1")
def verify(call: Call, version: Version) -> None:
    """Read every byte of a sealed version again. A mismatch suspends the version and its grants at once."""
    found = lookup.version(call.api, version)
    result = call.api.post(f"dataset-versions/{segment(found['id'])}/verify", patient=True)
    read = f"{result['files']} files, {output.size(result['bytes'])} read"
    if not result["ok"]:
        if call.json:
            output.as_json(result)
        raise Failure(f"Version {found['number']} is not as it was sealed: {result['problem']} ({read}).")
    call.done(result, f"Version {found['number']} is as it was sealed: {read}.")


@command(app, "grant", "broch dataset grant hand-xrays bone-age --until 2027-11-30")
def grant(
    call: Call,
    version: Version,
    project: Project,
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day (UTC), included.")],
    kind: Annotated[GrantKind, typer.Option(help="What for.")] = GrantKind.MOUNT,
) -> None:
    """Let a project use a sealed version of your dataset."""
    found = lookup.version(call.api, version)
    path = f"datasets/{segment(found['dataset_id'])}"
    body = {
        "project_id": _project(call, path, project),
        "version_id": found["id"],
        "kind": kind.value,
        "until": until,
    }
    given = call.api.post(f"{path}/grants", body)
    call.done(
        given,
        f"{given['project']['name']} may use {given['dataset_slug']} version {given['version_number']} "
        f"until {given['until']}. Undo: broch dataset revoke {given['dataset_slug']} {given['id']}",
    )


@command(app, "revoke", "broch dataset revoke hand-xrays bone-age")
def revoke(
    call: Call,
    dataset: Dataset,
    grant_: Annotated[
        str, typer.Argument(metavar="GRANT", help="Id of the grant or part of it, or its project.")
    ],
) -> None:
    """Take a grant back now. Workspaces that have the data mounted stop."""
    path = f"datasets/{segment(lookup.dataset(call.api, dataset))}"
    standing = [row for row in call.api.get(f"{path}/grants") if row["revoked_at"] is None]
    of_project = [row for row in standing if _is_project(row["project"], grant_)]
    if len(of_project) > 1:
        raise Failure(f"{grant_} has {len(of_project)} grants of {dataset}.", "Name the grant by its id.")
    id_ = of_project[0]["id"] if of_project else lookup.pick("grant", grant_, standing)
    taken = call.api.delete(f"grants/{segment(id_)}")
    call.done(taken, f"{taken['project']['name']} may no longer use {taken['dataset_slug']}.")


@command(app, "allow-export", "broch dataset allow-export hand-xrays bone-age ada")
def allow_export(call: Call, dataset: Dataset, project: Project, person: Handle) -> None:
    """Let a member of a project that has your dataset submit results made from it."""
    path = f"datasets/{segment(lookup.dataset(call.api, dataset))}"
    body = _candidate(call, path, project, person) or {
        "project_id": _project(call, path, project),
        "person_id": _stranger(call, path, project, person),
    }
    given = call.api.post(f"{path}/export-permissions", body)
    call.done(
        given,
        f"{given['person']['display_name']} may submit results of {given['project']['name']} "
        f"made from {given['dataset_title']}.",
    )


@command(app, "withdraw-export", "broch dataset withdraw-export hand-xrays bone-age ada")
def withdraw_export(call: Call, dataset: Dataset, project: Project, person: Handle) -> None:
    """Take a permission to export back now."""
    path = f"datasets/{segment(lookup.dataset(call.api, dataset))}"
    standing = _standing(call, path, project, person)
    if not standing:
        raise Failure(
            f"'{person}' has no permission to export {dataset} from {project}.",
            f"See who has: broch dataset show {dataset}",
        )
    taken = call.api.delete(f"export-permissions/{segment(standing[0]['id'])}")
    call.done(
        taken,
        f"{taken['person']['display_name']} may no longer submit results made from {taken['dataset_title']}.",
    )


def _candidate(call: Call, path: str, project: str, person: str) -> dict[str, str] | None:
    for row in call.api.get(f"{path}/export-candidates"):
        if _is_project(row["project"], project) and _is_person(row["person"], person):
            return {"project_id": row["project"]["id"], "person_id": row["person"]["id"]}
    return None


def _stranger(call: Call, path: str, project: str, person: str) -> str:
    """Return the id of somebody who is no candidate, so that the server says why not.

    Raises:
        Failure: nobody known is called that.
    """
    if lookup.is_id(person):
        return person
    standing = _standing(call, path, project, person)
    if standing:
        return str(standing[0]["person"]["id"])
    raise Failure(
        f"'{person}' is no member of a project '{project}' that ever had these data.",
        "Grant the data first: broch dataset grant DATASET PROJECT --until DATE",
    )


def _standing(call: Call, path: str, project: str, person: str) -> list[_Row]:
    return [
        row
        for row in call.api.get(f"{path}/export-permissions")
        if row["withdrawn_at"] is None
        and _is_project(row["project"], project)
        and _is_person(row["person"], person)
    ]


def _is_person(ref: _Row, text: str) -> bool:
    return text in {ref["id"], ref["handle"]}


def _project(call: Call, path: str, text: str) -> str:
    # An asset owner is rarely a member: `projects` would not show the project, this list does.
    if lookup.is_id(text):
        return text
    offered = call.api.get(f"{path}/grantable-projects")
    named = [row for row in offered if _is_project(row, text)]
    if len(named) > 1:
        raise Failure(f"{len(named)} projects are named '{text}'.", "Name one by its slug.")
    if named:
        return str(named[0]["id"])
    try:
        return lookup.pick("project", text, offered)
    except Failure:
        there = ", ".join(row["slug"] for row in offered[:8])
        raise Failure(
            f"There is no project '{text}' that data can be granted to.", f"There are: {there or 'none'}."
        ) from None


def _is_project(ref: _Row, text: str) -> bool:
    return text in {ref["id"], ref["slug"], ref["name"]}


def _detail(found: Mapping[str, Any]) -> None:
    owner = found["owner"]
    output.details(
        {
            "title": found["title"],
            "slug": found["slug"],
            "id": found["id"],
            "owner": f"{owner['display_name']} ({owner['handle']})",
            "licence": found["licence"] or "-",
            "description": found["description"] or "-",
        }
    )
    output.heading("Versions")
    output.table(
        ["NUMBER", "STATUS", "FILES", "SIZE", "SEALED", "LAST VERIFIED", "MANIFEST SHA256"],
        [
            [
                row["number"],
                row["status"],
                row["file_count"],
                output.size(row["total_bytes"]),
                output.when(row["sealed_at"]),
                output.when(row["verified_at"]),
                row["manifest_sha256"],
            ]
            for row in found["versions"]
        ],
        empty=f"None yet: broch dataset add-version {found['slug']} PATH --seal",
    )
    for row in found["versions"]:
        if row["suspended_reason"]:
            output.say(f"Version {row['number']} is suspended: {output.plain(row['suspended_reason'])}")
    output.heading("Grants")
    output.table(
        ["PROJECT", "VERSION", "KIND", "UNTIL", "HOLDS", "ID"],
        [
            [r["project"]["name"], r["version_number"], r["kind"], r["until"], r["holds"], r["id"]]
            for r in found["grants"]
        ],
        empty="None that you may see.",
    )
    output.heading("May submit results made from it")
    output.table(
        ["PERSON", "PROJECT", "GIVEN", "WITHDRAWN"],
        [
            [
                row["person"]["display_name"],
                row["project"]["name"],
                output.when(row["given_at"]),
                output.when(row["withdrawn_at"]),
            ]
            for row in found["export_permissions"]
        ],
        empty="Nobody that you may see.",
    )
