"""The program inside the sandbox: reads its job from a descriptor, looks at `/in/0`, `/in/1` ..., writes records to its output."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from broch_airlock.checks.inside.records import RecordWriter
from broch_airlock.checks.inside.walk import Walk
from broch_airlock.checks.model import Direction, Finding, Limits, result

_OUTPUT = 1
ENGINE = "broch inside 1"
ANSWERED = ("path_hygiene", "content_type", "archive_limits")


def _write(content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(_OUTPUT, view) :]


def _answers(findings: list[Finding]) -> bytes:
    by_check: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_check[finding.check].append(finding)
    answers: list[dict[str, Any]] = []
    for check in ANSWERED:
        answer = result(check, ENGINE, by_check[check])
        answers.append(
            {
                "check": check,
                "verdict": answer.verdict,
                "findings": [
                    {"rule": one.rule, "verdict": one.verdict, "where": one.where, "message": one.message}
                    for one in answer.findings
                ],
            }
        )
    return json.dumps({"checks": answers}).encode()


def main() -> None:
    """Look at every file of the job."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    limits = Limits.of(job["limits"])
    out = RecordWriter(_write)
    for number, entry in enumerate(job["files"]):
        with Path(f"/in/{number}").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            walk = Walk(number, limits, size, Direction(entry["direction"]), out)
            walk.run(entry["name"], file, size)
        out.report(number, _answers(walk.findings))
    out.done()


if __name__ == "__main__":
    main()
