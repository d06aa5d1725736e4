"""Reads the sandbox's stream of records (`inside.records`) and believes none of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from broch_airlock.checks.inside.records import (
    BEGIN,
    DATA,
    DATA_LARGEST,
    DONE,
    END,
    GIVEN_UP,
    HEADER,
    PLACE_LARGEST,
    REPORT,
    REPORT_LARGEST,
)
from broch_airlock.checks.model import FINDINGS_MOST, CheckResult, Finding, Verdict, result

_LONGEST = {BEGIN: PLACE_LARGEST, DATA: DATA_LARGEST, END: 0, GIVEN_UP: 0, REPORT: REPORT_LARGEST, DONE: 0}
ANSWERED_INSIDE = frozenset({"path_hygiene", "content_type", "archive_limits"})


class Nonsense(Exception):
    """The sandbox broke the protocol: nothing it says counts any more."""


@dataclass(frozen=True)
class Record:
    """One record as it came."""

    kind: int
    file: int
    member: int
    payload: bytes


def read_record(stream: IO[bytes], files: int) -> Record:
    """Return the next record.

    Args:
        stream: buffered; a short read means its end.
        files: how many files the job has.

    Raises:
        Nonsense: the stream ends, or the record cannot be.
    """
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise Nonsense("The sandbox ended before it was done.")
    kind, file, member, length = HEADER.unpack(header)
    longest = _LONGEST.get(kind)
    if longest is None or length > longest or file >= max(files, 1):
        raise Nonsense("The sandbox sent a record that cannot be.")
    payload = stream.read(length) if length else b""
    if len(payload) < length:
        raise Nonsense("The sandbox ended in the middle of a record.")
    return Record(kind, file, member, payload)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Finding(_Strict):
    rule: Annotated[str, StringConstraints(max_length=200)]
    verdict: Verdict
    where: Annotated[str, StringConstraints(max_length=2000)]
    message: Annotated[str, StringConstraints(max_length=2000)]


class _Answer(_Strict):
    check: str
    verdict: Verdict
    findings: tuple[_Finding, ...]


class _Report(_Strict):
    checks: tuple[_Answer, ...]


def read_report(payload: bytes, engine: str) -> list[CheckResult]:
    """Return the sandbox's answers on one file; the verdict is worked out anew from the findings.

    Raises:
        Nonsense: not the JSON that was agreed on, an unknown or repeated check, or a verdict unlike its findings.
    """
    try:
        report = _Report.model_validate(json.loads(payload))
    except (ValidationError, ValueError, RecursionError):
        raise Nonsense("The sandbox sent a report that cannot be read.") from None
    names = [answer.check for answer in report.checks]
    if len(set(names)) != len(names) or not set(names) <= ANSWERED_INSIDE:
        raise Nonsense("The sandbox answered for a check that it does not make.")
    answers = []
    for answer in report.checks:
        found = [
            Finding(answer.check, one.rule, one.verdict, one.where, one.message) for one in answer.findings
        ]
        judged = result(answer.check, engine, found)
        if len(found) > FINDINGS_MOST or judged.verdict is not answer.verdict:
            raise Nonsense("The sandbox's verdict does not follow from its findings.")
        answers.append(judged)
    return answers
