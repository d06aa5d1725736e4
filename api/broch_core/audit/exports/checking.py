"""Checking an export from its bytes up, and a log against it. Needs no database and no server for the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from broch_core.audit.exports.exporter import (
    RECORDS,
    check_continues,
    newest_checkpoint,
    read_note,
    records_name,
)
from broch_core.audit.exports.places import ExportPlace, ExportRefused, numbered
from broch_core.audit.exports.sources import LogSource
from broch_core.audit.spans import Peak, fold_peaks, join_peaks
from broch_core.errors import Conflict, DomainError
from broch_core.proof import Checkpoint, ProofError, Purpose, TrustFile, leaf_hash, verify_checkpoint


@dataclass(frozen=True)
class ExportResult:
    """Whether an export is whole and signed, and whether the log continues it."""

    ok: bool
    size: int
    """Records up to which it was found whole."""
    reason: str
    first_bad: int | None = None
    """Number of the first record that is not as it was signed, as far as that can be told."""


def check_export(place: ExportPlace, trust: TrustFile) -> ExportResult:
    """Recompute the tree of an export from its records and hold it against each of its checkpoints."""
    size = 0
    peaks: list[Peak] = []
    try:
        newest = newest_checkpoint(place, trust)
        if newest is None:
            return ExportResult(ok=False, size=0, reason="The place holds no export.")
        for first, end, leaves in _segments(place, newest.size):
            for leaf in leaves:
                peaks, _ = join_peaks(peaks, [(0, leaf_hash(leaf))])
            _check_head(place, trust, end, fold_peaks(peaks))
            size = end
            del first
    except (DomainError, ProofError) as error:
        return ExportResult(ok=False, size=size, reason=_said(error), first_bad=size)
    return ExportResult(ok=True, size=size, reason=f"All {size} exported records are as they were signed.")


def check_against(source: LogSource, place: ExportPlace, trust: TrustFile) -> ExportResult:
    """Check an export, then that a log continues it; name the first record that the two have differently."""
    found = check_export(place, trust)
    if not found.ok:
        return found
    try:
        there = newest_checkpoint(place, trust)
        note = source.newest()
        if there is None or note is None:
            raise Conflict(f"The export holds {found.size} records, and the log is empty.")
        newest = verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))[0]
        check_continues(source, there, newest)
    except (DomainError, ProofError) as error:
        first_bad = first_difference(source, place, found.size)
        return ExportResult(ok=False, size=found.size, reason=_said(error), first_bad=first_bad)
    says = f"{found.reason} The log of {newest.size} records continues them."
    return ExportResult(ok=True, size=found.size, reason=says)


def first_difference(source: LogSource, place: ExportPlace, size: int) -> int | None:
    """Return the number of the first record that a log lacks or has otherwise than an export."""
    number = 0
    try:
        for first, end, exported in _segments(place, size):
            number = first
            present = source.leaves(first, end)
            for leaf in exported:
                if next(present, None) != leaf:
                    return number
                number += 1
    except (DomainError, ProofError):
        return number
    return None


def _segments(place: ExportPlace, size: int) -> Iterator[tuple[int, int, Iterator[bytes]]]:
    """Yield (first, end, leaves) of the segments that lead from nothing to `size`."""
    ends: dict[int, list[int]] = {}
    checkpoints = {end for (end,) in numbered(place.names("checkpoints"), ".txt")}
    for numbers in numbered(place.names(RECORDS), ".jsonl"):
        if (
            len(numbers) == 2 and numbers[1] in checkpoints
        ):  # without a checkpoint: left by a run that was broken off
            ends.setdefault(numbers[0], []).append(numbers[1])
    first = 0
    while first < size:
        end = max(ends.get(first, [0]))
        if end <= first:
            raise ExportRefused(f"The exported records from number {first} on are missing.")
        lines = place.read(records_name(first, end)).split(b"\n")
        if lines.pop() or len(lines) != end - first:
            raise ExportRefused(f"{records_name(first, end)} has not {end - first} whole lines.")
        yield first, end, iter(lines)
        first = end


def _check_head(place: ExportPlace, trust: TrustFile, size: int, root: bytes) -> None:
    head = verify_checkpoint(read_note(place, size), trust.origin, trust.of(Purpose.CHECKPOINT))[0]
    if head != Checkpoint(trust.origin, size, root):
        raise ExportRefused(
            f"The exported records up to number {size - 1} are not those of their signed checkpoint."
        )


def _said(error: DomainError | ProofError) -> str:
    return error.detail if isinstance(error, DomainError) else str(error)
