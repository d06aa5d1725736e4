"""Bringing an export up to date, and refusing to when the log is not the one that was exported before."""

from __future__ import annotations

from dataclasses import dataclass

from broch_core.audit.exports.places import ExportPlace, ExportRefused, numbered
from broch_core.audit.exports.sources import LogSource
from broch_core.errors import Conflict
from broch_core.proof import Checkpoint, ProofError, Purpose, TrustFile, verify_checkpoint, verify_consistency

SEGMENT = 10_000
"""Most records of one file, but for the case that one checkpoint came after more."""
RECORDS, CHECKPOINTS = "records", "checkpoints"


class Forked(Conflict):
    """The log at hand does not continue the one that was exported."""


@dataclass(frozen=True)
class ExportReport:
    """What a run did."""

    size: int
    """Records that the place holds now."""
    added: int


def bring_up_to_date(
    source: LogSource, place: ExportPlace, trust: TrustFile, *, known: int = 0
) -> ExportReport:
    """Add what is new to a place; nothing new is done at once.

    Args:
        source: the log.
        place: where it is exported to.
        trust: keys of the log.
        known: records that the place held before: its earlier checkpoints are then not listed once more.

    Raises:
        Forked: the log was cut or rewritten since, or another copy of this Broch exports there.
        ExportRefused: the place holds what no export wrote, or refuses.
        Conflict: the log itself is not as it was signed.
    """
    there = newest_checkpoint(place, trust, known=known)
    note = source.newest()
    if note is None:
        if there is not None:
            raise Forked(f"The export holds {there.size} records, and this log is empty.")
        return ExportReport(0, 0)
    newest = _checked(note, trust, "The log's newest checkpoint")
    if there is not None:
        check_continues(source, there, newest)
    size = began = 0 if there is None else there.size
    while size < newest.size:
        end = source.checkpoint_up_to(min(size + SEGMENT, newest.size), size)
        if end is None:
            raise Conflict("The log has no checkpoint for its newest records.")
        size = _add_segment(source, place, size, _checked(end, trust, "A checkpoint of the log"), end)
    if size > began:
        place.finish(f"Records {began} to {size - 1} of {trust.origin}")
    return ExportReport(size, size - began)


def newest_checkpoint(place: ExportPlace, trust: TrustFile, *, known: int = 0) -> Checkpoint | None:
    """Return the newest checkpoint of an export, if it holds any; one of `known` records is expected there.

    Raises:
        ExportRefused: no trusted key signed it.
    """
    # A name without its ending sorts right before itself.
    later = numbered(place.names(CHECKPOINTS, after=f"{known:012d}"), ".txt") if known else []
    sizes = later or numbered(place.names(CHECKPOINTS), ".txt")
    if not sizes:
        return None
    (size,) = sizes[-1]
    found = _checked(read_note(place, size), trust, f"The exported checkpoint of {size} records")
    if found.size != size:
        raise ExportRefused(f"The exported checkpoint of {size} records speaks of {found.size}.")
    return found


def read_note(place: ExportPlace, size: int) -> str:
    """Return the note of an exported checkpoint.

    Raises:
        ExportRefused: it is no text.
    """
    try:
        return place.read(checkpoint_name(size)).decode()
    except UnicodeError as error:
        raise ExportRefused(f"The exported checkpoint of {size} records is no text.") from error


def check_continues(source: LogSource, there: Checkpoint, newest: Checkpoint) -> None:
    """Check that a log continues what was exported.

    Raises:
        Forked: it does not.
    """
    if newest.size < there.size:
        raise Forked(
            f"The export holds {there.size} records, this log only {newest.size}: it was cut, or an older copy was restored.",
            remedy="Keep the export as it is, and export to a new place from now on.",
        )
    try:
        proof = source.consistency(there.size, newest.size)
        verify_consistency(there.size, newest.size, there.root, newest.root, proof)
    except ProofError as error:
        raise Forked(
            f"This log does not continue the {there.size} records that were exported: {error}",
            remedy="Keep both; somewhere before that number a record was changed, or two copies of one Broch went on.",
        ) from error


def records_name(first: int, end: int) -> str:
    """Return the name of the file with these records."""
    return f"{RECORDS}/{first:012d}-{end:012d}.jsonl"


def checkpoint_name(size: int) -> str:
    """Return the name of a checkpoint."""
    return f"{CHECKPOINTS}/{size:012d}.txt"


def _add_segment(source: LogSource, place: ExportPlace, first: int, end: Checkpoint, note: str) -> int:
    leaves = [leaf + b"\n" for leaf in source.leaves(first, end.size)]
    if len(leaves) != end.size - first:
        raise Conflict(f"The log gave {len(leaves)} records from number {first}, not {end.size - first}.")
    place.add(records_name(first, end.size), b"".join(leaves))
    place.add(checkpoint_name(end.size), note.encode())
    return end.size


def _checked(note: str, trust: TrustFile, what: str) -> Checkpoint:
    try:
        return verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))[0]
    except ProofError as error:
        raise ExportRefused(f"{what} cannot be trusted: {error}") from error
