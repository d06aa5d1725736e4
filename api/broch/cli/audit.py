"""`broch audit`: read, check and export the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import lookup, output
from broch.cli.airlock_download import save
from broch.cli.calls import Call, command, group
from broch.cli.client import segment
from broch.cli.failure import Failure

app = group("Read, check and export the audit log.", "broch audit list --as sunniva", "broch audit verify")

Actor = Annotated[str | None, typer.Option(metavar="PERSON", help="Handle or id of who acted, or 'system'.")]
Action = Annotated[str | None, typer.Option(help="What was done, such as airlock:submit.")]
Project = Annotated[str | None, typer.Option(metavar="PROJECT", help="In this project (slug or id).")]
Outcome = Annotated[str | None, typer.Option(help="'allowed' or 'denied'.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Not older, such as 2026-11-22T08:00:00Z.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Older than this.")]
_Row = Mapping[str, Any]


@command(app, "list", "broch audit list --action airlock:submit", "broch audit list --outcome denied --json")
def list_records(
    call: Call,
    actor: Actor = None,
    action: Action = None,
    project: Project = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, newest first.")] = 50,
) -> None:
    """List what was allowed and denied."""
    found = call.api.pages(
        "audit/records",
        limit=limit,
        actor=actor,
        action=action,
        project=project,
        outcome=outcome,
        since=since,
        until=until,
    )
    columns: Mapping[str, Callable[[_Row], object]] = {
        "NUMBER": lambda row: row["number"],
        "WHEN": lambda row: output.when(row["at"]),
        "WHO": lambda row: row["actor_handle"] or row["actor_id"],
        "ACTION": lambda row: row["action"],
        "OUTCOME": lambda row: row["outcome"],
        "PROJECT": lambda row: row["project_slug"],
        "SUBJECT": lambda row: f"{row['subject_kind']} {row['subject_id'] or ''}".strip(),
        "ID": lambda row: row["id"],
    }
    call.rows(found, columns, empty="No record fits.")


@command(app, "verify", "broch audit verify")
def verify(call: Call) -> None:
    """Recompute the whole log from its records and hold it against the newest signed checkpoint."""
    result = call.api.post("audit/verify", patient=True)
    if not result["ok"]:
        if call.json:
            output.as_json(result)
        at = f" First bad record: {result['first_bad']}." if result["first_bad"] else ""
        raise Failure(f"The log is NOT as it was signed: {result['reason']}{at}")
    call.done(result, result["reason"])


@command(app, "export", "broch audit export --to audit.jsonl", "broch audit export --project bone-age")
def export(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    call: Call,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    actor: Actor = None,
    action: Action = None,
    project: Project = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write records as JSON lines, newest first. That you took them is a record itself."""
    wanted = {"actor": actor, "action": action, "project": project, "outcome": outcome}
    with call.api.stream("audit/export", query=wanted | {"since": since, "until": until}) as answer:
        if to is not None:
            save(to, answer.iter_bytes(), force=force)
            output.note(f"Saved {to}.")
            return
        for line in answer.iter_lines():
            output.say(line)


@command(app, "proof", "broch audit proof 01JD3W7Z8Q5T9XK2M4N6P8R0SV")
def proof(call: Call, record: Annotated[str, typer.Argument(metavar="ID", help="Of the record.")]) -> None:
    """Prove that a record is in the log: leaf, RFC 6962 inclusion proof, signed checkpoint."""
    if not lookup.is_id(record):
        record = lookup.pick("record", record, call.api.pages("audit/records", limit=lookup.MOST))
    found = call.api.get(f"audit/records/{segment(record)}/proof")
    call.show(found, lambda: _proof(found))


@command(app, "checkpoint", "broch audit checkpoint > checkpoint.txt")
def checkpoint(call: Call) -> None:
    """Print the newest signed tree head. Keep it where nobody who runs this Broch can change it."""
    found = call.api.get("audit/checkpoint")
    if found["note"] is None:
        raise Failure("The log is empty: there is no checkpoint yet.")
    call.show(found, lambda: output.lines(found["note"]))


def _proof(found: _Row) -> None:
    output.details({"index": found["index"], "size": found["size"], "leaf (base64)": found["leaf"]})
    output.heading("Audit path (base64)")
    for node in found["hashes"]:
        output.say(output.plain(node))
    output.heading("Checkpoint")
    output.lines(found["checkpoint"])
