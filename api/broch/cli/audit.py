"""`broch audit`: read, check and export the audit log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import audit_check, lookup, output
from broch.cli.airlock_download import save
from broch.cli.audit_source import ApiSource, read_trust
from broch.cli.calls import Call, command, confirm, group
from broch.cli.client import segment
from broch.cli.failure import Failure, Misused

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


@command(
    app,
    "verify",
    "broch audit verify",
    "broch audit verify --checkpoint checkpoint.txt --trust trust.json",
    "broch audit verify --against s3://auditor/broch --trust trust.json",
    "broch audit verify --offline --dir /srv/copy --trust trust.json",
)
def verify(
    call: Call,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One that you kept: the log has to continue it.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="A copy: a folder, s3://BUCKET/PREFIX or git:REPOSITORY."),
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys you trust; what was kept is then checked here.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: read the database itself, or just the copy.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Whose database to read offline.")
    ] = None,
    only_newer: Annotated[
        bool, typer.Option("--only-newer", help="Offline: recompute only what came after --checkpoint.")
    ] = False,
) -> None:
    """Recompute the log from its records, and hold it against its signed checkpoints and what you kept elsewhere.

    Names the first record that is not as it was signed. The server's word is not needed for what --trust covers.
    """
    if only_newer and not (offline and checkpoint):
        raise Misused("--only-newer goes with --offline and --checkpoint.")
    if (offline or against) and trust is None:
        read_trust(None)
    kept = audit_check.read_note(checkpoint)
    if against is not None:
        source = None if offline else ApiSource(call.api)
        says = audit_check.check_place(against, read_trust(trust), source)
        call.done({"ok": True, "reason": says}, says)
        return
    if offline:
        found = audit_check.check_database(folder, read_trust(trust), kept, only_newer=only_newer)
        call.done(asdict(found), audit_check.report(found))
        return
    result = call.api.post("audit/verify", None if kept is None else {"checkpoint": kept}, patient=True)
    if not result["ok"]:
        if call.json:
            output.as_json(result)
        at = f" First bad record: {result['first_bad']}." if result["first_bad"] else ""
        raise Failure(f"The log is NOT as it was signed: {result['reason']}{at}")
    here = ""
    if kept is not None and trust is not None:
        here = " " + audit_check.check_kept(ApiSource(call.api), kept, read_trust(trust))
    call.done(result, f"{result['reason']}{here}")


@command(
    app,
    "mirror",
    "broch audit mirror --to /mnt/worm/broch --trust trust.json",
    "broch audit mirror --to git:ssh://audit@elsewhere/broch.git --trust trust.json --every 60",
)
def mirror(
    call: Call,
    to: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="A folder, s3://BUCKET/PREFIX or git:REPOSITORY.")
    ],
    trust: Annotated[Path | None, typer.Option(metavar="FILE", help="Keys you trust.")] = None,
    every: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="Go on for ever, this often.")
    ] = None,
) -> None:
    """Copy records and signed checkpoints to a place of your own, adding only; refuse a log that was cut or rewritten."""
    keys = read_trust(trust)
    while True:
        done = audit_check.mirror(ApiSource(call.api), to, keys)
        call.done(asdict(done), f"{done.added} records are new; the copy has {done.size}.")
        if every is None:
            return
        sys.stdout.flush()
        time.sleep(every)


@command(app, "checkpoints", "broch audit checkpoints --limit 5")
def checkpoints(
    call: Call, limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20
) -> None:
    """List signed tree heads, newest first."""
    found = call.api.pages("audit/checkpoints", limit=limit, cursor="below")
    columns: Mapping[str, Callable[[_Row], object]] = {
        "RECORDS": lambda row: row["size"],
        "SIGNED": lambda row: output.when(row["at"]),
        "ROOT": lambda row: row["note"].split("\n")[2],
    }
    call.rows(found, columns, empty="The log is empty.")


@command(app, "consistency", "broch audit consistency 1 2")
def consistency(
    call: Call,
    old: Annotated[int, typer.Argument(min=0, help="How many records the older log had.")],
    new: Annotated[int, typer.Argument(min=0, help="How many the newer one had.")],
) -> None:
    """Prove that the newer log continues the older one (RFC 9162). `verify --checkpoint` checks such a proof."""
    found = call.api.get("audit/consistency", old=old, new=new)
    call.show(found, lambda: output.lines("\n".join(found["hashes"])))


@command(app, "erase", "broch audit erase noor", "broch audit erase --record 01JD3W7Z8Q5T9XK2M4N6P8R0SV")
def erase(
    call: Call,
    person: Annotated[str | None, typer.Argument(metavar="[PERSON]", help="Handle or id.")] = None,
    record: Annotated[str | None, typer.Option(metavar="ID", help="The texts of this record alone.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase personal texts (names, file names, reasons) for good. Their digests stay, and the log still verifies."""
    if (person is None) == (record is None):
        raise Misused("Name a person, or a record by --record.")
    body = {"record": record}
    if person is not None:
        body = {"person": _person(call, person)}
    if not yes:
        confirm(f"Erase the personal texts of {output.plain(person or record)} from the audit log, for good?")
    done = call.api.post("audit/erasures", body)
    call.done(done, f"The texts of {done['erased']} records are erased.")


@command(app, "rotate-key", "broch audit rotate-key checkpoint", "broch audit rotate-key statement --stolen")
def rotate_key(
    call: Call,
    purpose: Annotated[str, typer.Argument(help="'checkpoint' or 'statement'.")],
    stolen: Annotated[bool, typer.Option("--stolen", help="End the old key now, not in an hour.")] = False,
) -> None:
    """Renew a signing key. Hand out the new trust file afterwards: broch airlock trust."""
    made = call.api.post("audit/keys", {"purpose": purpose, "stolen": stolen})
    call.done(made, f"Signs from now on: {made['purpose']} key {made['key_id'][:16]}.")


@command(
    app, "export", "broch audit export --to audit.jsonl", "broch audit export --format ocsf --first 1200"
)
def export(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    call: Call,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    actor: Actor = None,
    action: Action = None,
    project: Project = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    form: Annotated[
        str, typer.Option("--format", help="'records', 'ocsf' (for SIEMs) or 'leaves' (as hashed).")
    ] = "records",
    first: Annotated[
        int | None, typer.Option(min=0, help="Number to begin with, for ocsf and leaves.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write records as JSON lines. That you took them is a record itself."""
    wanted = {"actor": actor, "action": action, "project": project, "outcome": outcome}
    wanted |= {"format": form, "first": None if first is None else str(first)}
    with call.api.stream("audit/export", query=wanted | {"since": since, "until": until}) as answer:
        if to is not None:
            save(to, answer.iter_bytes(), force=force)
            output.note(f"Saved {to}.")
            return
        for piece in answer.iter_bytes():
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()


@command(app, "proof", "broch audit proof 01JD3W7Z8Q5T9XK2M4N6P8R0SV")
def proof(call: Call, record: Annotated[str, typer.Argument(metavar="ID", help="Of the record.")]) -> None:
    """Prove that a record is in the log: leaf, RFC 6962 inclusion proof, signed checkpoint."""
    if not lookup.is_id(record):
        record = lookup.pick("record", record, call.api.pages("audit/records", limit=lookup.MOST))
    found = call.api.get(f"audit/records/{segment(record)}/proof")
    call.show(found, lambda: _proof(found))


@command(app, "checkpoint", "broch audit checkpoint --to checkpoint.txt")
def checkpoint(
    call: Call,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Save it there.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Print the newest signed tree head. Keep it where nobody who runs this Broch can change it."""
    found = call.api.get("audit/checkpoint")
    if found["note"] is None:
        raise Failure("The log is empty: there is no checkpoint yet.")
    if to is not None:
        save(to, [found["note"].encode()], force=force)
        output.note(f"Saved {to}.")
        return
    call.show(found, lambda: output.lines(found["note"]))


def _person(call: Call, text: str) -> str:
    people = call.api.pages("people", limit=lookup.MOST)
    return next((str(row["id"]) for row in people if row["handle"] == text), None) or lookup.pick(
        "person", text, people
    )


def _proof(found: _Row) -> None:
    output.details({"index": found["index"], "size": found["size"], "leaf (base64)": found["leaf"]})
    output.heading("Audit path (base64)")
    for node in found["hashes"]:
        output.say(output.plain(node))
    output.heading("Checkpoint")
    output.lines(found["checkpoint"])
