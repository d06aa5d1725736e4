"""Reviewing: for `broch airlock queue` and `decide`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from broch.cli import airlock_digest, airlock_shown, lookup, output
from broch.cli.calls import Call, confirm
from broch.cli.client import segment
from broch.cli.failure import Misused

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, oldest first.")]
_Row = Mapping[str, Any]


class Opinion(StrEnum):
    """What a reviewer decides on a file."""

    APPROVE = "approve"
    CHANGES = "changes"
    REJECT = "reject"


_OPINIONS = {Opinion.CHANGES: "changes_requested"}


def queue(call: Call, limit: Limit = 50) -> None:
    """List what waits for your review, oldest first, with your own progress."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "ID": lambda row: row["id"],
        "WAY": lambda row: row["direction"],
        "PROJECT": lambda row: row["project"],
        "AUTHOR": lambda row: row["author"],
        "SUBMITTED": lambda row: output.when(row["submitted_at"]),
        "DECIDED": lambda row: f"{row['decided']}/{row['files']}",
        "OPEN": lambda row: row["open"],
        "PURPOSE": lambda row: row["purpose"],
    }
    found = lookup.review_queue(call.api, limit)
    call.rows(found, columns, empty="Nothing waits for your review.")


def decide(
    call: Call,
    request: Annotated[str, typer.Argument(metavar="ID", help="Id of the request, or its beginning or end.")],
    file: Annotated[str, typer.Argument(help="Name or id of the file.")],
    opinion: Annotated[Opinion, typer.Argument(help="What you decide.")],
    comment: Annotated[str, typer.Option(help="Why; needed unless you approve.")] = "",
    sha256: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Digest of what you looked at, or its first 32 or more digits. Then nothing is asked; "
            "if the file has other bytes now, nothing is decided.",
        ),
    ] = None,
) -> None:
    """Decide on one file as a reviewer, or revise that. Nobody sees it before every reviewer has decided.

    Look at the file first, in the viewer of its page: this command shows findings and digest, never the content.
    """
    if opinion is not Opinion.APPROVE and not comment.strip():
        raise Misused(
            "Say why: the author needs to know what to change.", "Add --comment 'Rows 4 and 7 ...'."
        )
    named = airlock_digest.checked(sha256) if sha256 is not None else None
    path = f"airlock/requests/{segment(lookup.airlock_request(call.api, request))}"
    review = call.api.get(f"{path}/review")
    found = lookup.file(review["files"], file)
    if named is None:
        airlock_shown.digests([found])
        airlock_shown.findings([found], to_person=True)
        # A script that never saw the bytes must not decide on whatever is there at that moment.
        confirm(
            f"Decide '{opinion.value}' on exactly these bytes?",
            unasked="Name what you looked at: --sha256 DIGEST (its first 32 digits do).",
        )
    else:
        airlock_digest.require_all([found], [named])
    body = {
        "opinion": _OPINIONS.get(opinion, opinion.value),
        "sha256": found["sha256"],
        "turn": review["turn"],
        "comment": comment,
    }
    after = call.api.post(f"{path}/files/{segment(found['id'])}/decisions", body)
    left = sum(row["decision"] is None for row in after["files"]) if after["open"] else 0
    more = f" {left} of {len(after['files'])} files wait for your decision." if left else ""
    call.done(after, f"Decided '{opinion.value}' on {found['name']}.{more}")
