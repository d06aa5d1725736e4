"""How an airlock request looks in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from broch.cli import output

_Row = Mapping[str, Any]


def request(found: _Row) -> None:
    """Print a request with everything that its reader may know."""
    output.details(
        {
            "request": found["id"],
            "project": found["project_name"],
            "way": found["direction"],
            "status": found["status"] + (f": {found['message']}" if found["message"] else ""),
            "author": found["author"],
            "turn": found["turn"],
            "created": output.when(found["created_at"]),
            "submitted": output.when(found["submitted_at"]),
            "purpose": found["purpose"] or "-",
            "description": found["description"] or "-",
        }
    )
    output.heading("Files")
    _files(found["file_list"])
    findings(found["file_list"])
    if found["decisions"]:
        output.heading("Decisions")
        names = {row["id"]: row["name"] for row in found["file_list"]}
        output.table(
            ["FILE", "REVIEWER", "DECISION", "WHEN", "STANDS", "COMMENT"],
            [
                [
                    names.get(row["file_id"], row["file_id"]),
                    row["reviewer"],
                    row["opinion"],
                    output.when(row["at"]),
                    row["current"],
                    row["comment"] or "-",
                ]
                for row in found["decisions"]
            ],
            empty="None.",
        )
    if found["comments"]:
        output.heading("Comments")
        for row in found["comments"]:
            output.say(f"{output.when(row['at'])}  {output.plain(row['by'])}: {output.plain(row['text'])}")
    output.heading("What happened")
    output.table(
        ["WHEN", "STATUS", "TURN", "BY"],
        [[output.when(row["at"]), row["status"], row["turn"], row["by"]] for row in found["timeline"]],
        empty="Nothing yet.",
    )
    if found["may_submit"]:
        output.say(f"\nNext: broch airlock submit {found['id']}")
    elif found["status"] == "released" and found["direction"] == "egress":
        output.say(f"\nNext: broch airlock download {found['id']} --to FOLDER")


def digests(files: Sequence[_Row], *, to_person: bool = True) -> None:
    """Print files with size and digest: to the person who is asked, or as the result."""
    if to_person:
        with redirect_stdout(sys.stderr):
            _files(files)
    else:
        _files(files)


def draft(found: _Row) -> None:
    """Print a draft after files came into it, and what comes next."""
    digests(found["file_list"], to_person=False)
    output.say(f"The draft {found['id']} has {found['files']} files. Nothing crosses before you submit it:")
    output.say(f"  broch airlock submit {found['id']}")


def findings(files: Sequence[_Row], *, to_person: bool = False) -> None:
    """Print what the checks found."""
    rows = [
        [row["name"], finding["verdict"], finding["check"], finding["where"], finding["text"]]
        for row in files
        for check in row["checks"]
        for finding in check["findings"]
    ]
    if not rows:
        return
    with redirect_stdout(sys.stderr if to_person else sys.stdout):
        output.heading("Findings")
        output.table(["FILE", "VERDICT", "CHECK", "WHERE", "WHAT"], rows, empty="None.")


def _files(files: Sequence[_Row]) -> None:
    output.table(
        ["NAME", "SIZE", "SHA256", "CHECKS"],
        [[row["name"], output.size(row["size"]), row["sha256"], row["verdict"]] for row in files],
        empty="No files yet.",
    )
