"""`broch airlock`: bring files in, let results out, review."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import (
    airlock_digest,
    airlock_release,
    airlock_review,
    airlock_shown,
    airlock_zone,
    lookup,
    output,
)
from broch.cli.airlock_download import read_proof, save, save_release
from broch.cli.airlock_upload import UploadMemory, named, send_files
from broch.cli.calls import Call, command, confirm, group
from broch.cli.client import Api, segment
from broch.cli.failure import Failure, Misused

app = group(
    "Bring files in, let results out, review. Reviewers look at files in the viewer of the pages.",
    "broch airlock list",
    "broch airlock pick tumour-texture project results/table.csv --purpose 'Table 2'",
    "broch airlock upload model.py --project tumour-texture --purpose 'The model of our paper'",
)

Request = Annotated[str, typer.Argument(metavar="ID", help="Id of the request, or its beginning or end.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
_Row = Mapping[str, Any]
_NAME_THEM = "Name each file by its digest: --sha256 DIGEST (the first 32 digits do)."


class Direction(StrEnum):
    """Which way files cross."""

    INGRESS = "ingress"
    EGRESS = "egress"


@command(app, "list", "broch airlock list", "broch airlock list --project tumour-texture --status in_review")
def list_requests(
    call: Call,
    project: Annotated[str | None, typer.Option(metavar="PROJECT", help="Of this project only.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="This way only.")] = None,
    status: Annotated[str | None, typer.Option(help="In this state only, such as draft.")] = None,
    limit: Limit = 50,
) -> None:
    """List the requests of your projects."""
    found = call.api.pages(
        "airlock/requests",
        limit=limit,
        project_id=lookup.project(call.api, project) if project else None,
        direction=direction.value if direction else None,
        status=status,
    )
    columns: Mapping[str, Callable[[_Row], object]] = {
        "ID": lambda row: row["id"],
        "WAY": lambda row: row["direction"],
        "STATUS": lambda row: row["status"],
        "FILES": lambda row: row["files"],
        "SIZE": lambda row: output.size(row["size"]),
        "PROJECT": lambda row: row["project_name"],
        "AUTHOR": lambda row: row["author"],
        "CREATED": lambda row: output.when(row["created_at"]),
        "PURPOSE": lambda row: row["purpose"] or "-",
    }
    call.rows(
        found, columns, empty="No requests. Bring files in: broch airlock upload FILES --project PROJECT"
    )


@command(app, "show", "broch airlock show 01JD3W7Z")
def show(call: Call, request: Request) -> None:
    """Show a request: files, checks, comments, and the decisions that you may see."""
    found = call.api.get(_path(call.api, request))
    call.show(found, lambda: airlock_shown.request(found))


@command(
    app,
    "upload",
    "broch airlock upload model.py --project tumour-texture --purpose 'The model of our paper'",
    "broch airlock upload more.csv --request 01JD3W7Z",
)
def upload(
    call: Call,
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="What comes in.")],
    project: Annotated[str | None, typer.Option(metavar="PROJECT", help="Into which project.")] = None,
    purpose: Annotated[str, typer.Option(help="What for, in one line.")] = "",
    description: Annotated[str, typer.Option(help="More about it.")] = "",
    request: Annotated[str | None, typer.Option(metavar="ID", help="Add to this draft of yours.")] = None,
) -> None:
    """Send files into a draft that comes into a project. After a break, the same command goes on where it was."""
    if (project is None) == (request is None):
        raise Misused("Say where to.", "Either --project PROJECT or --request ID.")
    by_name = named(files)
    api = call.api
    person_id = api.get("sessions/current")["person"]["id"]
    target = lookup.airlock_request(api, request) if request else lookup.project(api, str(project))
    memory = UploadMemory(api.server, person_id, [target, purpose, description], files)
    begun = api.get(f"airlock/requests/{segment(target)}") if request else _unfinished(api, memory)
    if begun is None:
        body = {"project_id": target, "purpose": purpose, "description": description}
        begun = api.post("airlock/requests", body)
    memory.begin(begun["id"])
    try:
        found = send_files(api, begun, by_name, memory)
    except KeyboardInterrupt:
        output.note("Interrupted. The same command goes on from here.")
        raise
    call.show(found, lambda: airlock_shown.draft(found))


@command(app, "remove-file", "broch airlock remove-file 01JD3W7Z notes.txt")
def remove_file(
    call: Call, request: Request, file: Annotated[str, typer.Argument(help="Name or id of the file.")]
) -> None:
    """Take a file out of a draft of yours, or of a request that came back for changes."""
    path = _path(call.api, request)
    found = lookup.file(call.api.get(path)["file_list"], file)
    left = call.api.delete(f"{path}/files/{segment(found['id'])}")
    call.done(left, f"{found['name']} is out of {left['id']}; {left['files']} files are left.")


@command(
    app,
    "submit",
    "broch airlock submit 01JD3W7Z --purpose 'Table 2'",
    "broch airlock submit 01JD3W7Z --sha256 9f86d081884c7d659a2feaa0c55ad015",
)
def submit(
    call: Call,
    request: Request,
    purpose: Annotated[str | None, typer.Option(help="What for, in one line.")] = None,
    description: Annotated[str | None, typer.Option(help="More about it.")] = None,
    sha256: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIGEST",
            help="Digest of a file, or its first 32 or more digits; once for each file. Then nothing is asked.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; only for files that come in.")
    ] = False,
) -> None:
    """Confirm what is submitted, by digest, and why. Checks begin at once."""
    named = [airlock_digest.checked(digest) for digest in sha256 or ()]
    path = _path(call.api, request)
    found = call.api.get(path)
    files = found["file_list"]
    what_for = purpose if purpose is not None else found["purpose"]
    if not what_for.strip():
        raise Misused("Say what the files are for.", "Add --purpose 'Table 2 of the manuscript'.")
    leaves = found["direction"] == Direction.EGRESS
    if named:
        airlock_digest.require_all(files, named)
    elif yes and leaves:
        # Code in the workspace can still write to the draft: what leaves was named by a person.
        raise Misused("What leaves has to be named.", _NAME_THEM)
    elif not yes:
        airlock_shown.digests(files)
        output.note(f"For: {output.plain(what_for)}")
        way = "leave" if leaves else "come into"
        confirm(
            f"Submit these {len(files)} files, to {way} {output.plain(found['project_name'])}?",
            unasked=_NAME_THEM if leaves else "Say --yes if you mean it.",
        )
    body = {
        "purpose": what_for,
        "description": description if description is not None else found["description"],
        "files": [{"file_id": row["id"], "sha256": row["sha256"]} for row in files],
    }
    sent = call.api.post(f"{path}/submit", body)
    call.done(sent, f"{sent['id']} is {sent['status']}. Follow it: broch airlock show {sent['id']}")


@command(app, "withdraw", "broch airlock withdraw 01JD3W7Z")
def withdraw(call: Call, request: Request, yes: Yes = False) -> None:
    """Take a request back before it is released. Its files go."""
    path = _path(call.api, request)
    if not yes:
        confirm("Withdraw this request for good? Its files go.")
    found = call.api.post(f"{path}/withdraw")
    call.done(found, f"{found['id']} is {found['status']}.")


@command(app, "comment", "broch airlock comment 01JD3W7Z 'Which table is this for?'")
def comment(
    call: Call, request: Request, text: Annotated[str, typer.Argument(help="What you want to say.")]
) -> None:
    """Say something about a request. Author and reviewers see it; reviewers stay unnamed."""
    found = call.api.post(_path(call.api, request, "comments"), {"text": text})
    call.done(found, "Said.")


command(
    app,
    "browse",
    "broch airlock browse tumour-texture",
    "broch airlock browse tumour-texture project results",
)(airlock_zone.browse)
command(
    app,
    "pick",
    "broch airlock pick tumour-texture project results/table.csv --purpose 'Table 2'",
    "broch airlock pick tumour-texture home plot.png --request 01JD3W7Z",
)(airlock_zone.pick)
command(app, "queue", "broch airlock queue")(airlock_review.queue)
command(
    app,
    "decide",
    "broch airlock decide 01JD3W7Z table.csv approve",
    "broch airlock decide 01JD3W7Z table.csv approve --sha256 9f86d081884c7d659a2feaa0c55ad015",
    "broch airlock decide 01JD3W7Z plot.png changes --comment 'The axis shows single patients.'",
)(airlock_review.decide)


@command(app, "download", "broch airlock download 01JD3W7Z --to results")
def download(
    call: Call,
    request: Request,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to.")] = Path(),
    force: Force = False,
) -> None:
    """Save released results with their receipt. Digests are checked while the bytes come."""
    found = call.api.get(_path(call.api, request))
    saved = save_release(call.api, found, to, force=force)
    answer = {"saved": [str(path) for path in saved], "request": found["id"]}
    call.done(
        answer, f"Saved {len(saved) - 1} files and {saved[-1]}. Check: broch verify --trust trust.json ..."
    )


@command(app, "receipt", "broch airlock receipt 01JD3W7Z --to receipt.json")
def receipt(
    call: Call,
    request: Request,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    force: Force = False,
) -> None:
    """Print the receipt of a release, or save it. `broch verify` checks it without a server."""
    _deliver(read_proof(call.api, lookup.airlock_request(call.api, request)), to, force=force)


@command(app, "certificate", "broch airlock certificate 01JD3W7Z --to certificate.json")
def certificate(
    call: Call,
    request: Request,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    force: Force = False,
) -> None:
    """Print the deletion certificate of a request, or save it. `broch verify` checks it without a server."""
    _deliver(read_proof(call.api, lookup.airlock_request(call.api, request), "certificate"), to, force=force)


@command(app, "trust", "broch airlock trust --to trust.json")
def trust(
    call: Call,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    force: Force = False,
) -> None:
    """Print the public keys of this Broch, or save them. Keep them apart from the receipts that they check."""
    _deliver(call.api.send("GET", "airlock/trust.json").content, to, force=force)


command(app, "releases", "broch airlock releases")(airlock_release.releases)
command(app, "retry", "broch airlock retry 01JD3W7Z")(airlock_release.retry)
command(
    app,
    "recall",
    "broch airlock recall 01JD3W7Z --reason 'Table 2 shows single patients.'",
)(airlock_release.recall)
command(app, "recalls", "broch airlock recalls --to recalls.json")(airlock_release.recalls)


def _deliver(data: bytes, to: Path | None, *, force: bool) -> None:
    if to is None:
        output.say(data.decode("utf-8").rstrip("\n"))
    else:
        save(to, [data], force=force)
        output.note(f"Saved {to}.")


def _path(api: Api, text: str, *more: str) -> str:
    return "/".join(["airlock/requests", segment(lookup.airlock_request(api, text)), *more])


def _unfinished(api: Api, memory: UploadMemory) -> dict[str, Any] | None:
    if memory.request_id is None:
        return None
    try:
        found: dict[str, Any] = api.get(f"airlock/requests/{segment(memory.request_id)}")
    except Failure:
        return None
    if not found["editable"]:
        return None
    output.note(f"Going on with the draft {found['id']}.")
    return found
