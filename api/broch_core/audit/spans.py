"""One span of the stored history, recomputed from its records: what a worker process does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from broch_core.audit.leaves import (
    NotAsWritten,
    StoredRecord,
    leaf_bytes,
    stored_records,
    texts_are_as_written,
)
from broch_core.proof import ProofError, Purpose, TrustFile, node_hash, verify_checkpoint
from broch_core.proof.merkle import HASH_SIZE

SPAN_LEVEL = 14
SPAN = 1 << SPAN_LEVEL
"""Records of one span: a complete subtree, some 10 MB in memory."""
CLOCK_SKEW = timedelta(minutes=5)
"""Most that a record's time may lie after the checkpoint that covers it: clocks of two machines differ."""

Peak = tuple[int, bytes]
"""Root of a complete subtree, with its level."""


class ChangedHistory(Exception):
    """The stored history is not the one that was signed."""

    def __init__(self, reason: str, *, number: int | None = None, record_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number
        self.record_id = record_id


@dataclass(frozen=True)
class Erasures:
    """Which texts were erased by a recorded erasure: number of the newest one, by person or record."""

    of_person: Mapping[str, int]
    of_record: Mapping[str, int]

    def explain(self, record: StoredRecord) -> bool:
        """Tell whether an erasure that came after the record explains that its texts are gone."""
        return (
            max(
                self.of_person.get(record.actor, -1),
                self.of_person.get(record.subject or "", -1) if record.kind == "person" else -1,
                self.of_record.get(record.id, -1),
            )
            > record.number
        )


@dataclass(frozen=True)
class Head:
    """A signed tree head whose root is still to be compared: the roots of complete subtrees below it in its span."""

    size: int
    root: bytes
    peaks: tuple[Peak, ...]
    at: str
    """When it was signed, as the database has it; empty for one that was given from outside."""


@dataclass(frozen=True)
class SpanResult:
    """What came of a span: its peaks, its heads, how many texts were erased, and what was not as it was signed."""

    first: int
    end: int
    peaks: tuple[Peak, ...] = ()
    heads: tuple[Head, ...] = ()
    erased: int = 0
    changed: ChangedSpan | None = None


@dataclass(frozen=True)
class ChangedSpan:
    """A `ChangedHistory` that can travel between processes."""

    reason: str
    number: int | None
    record_id: str | None


@dataclass
class _Span:
    connection: Connection
    first: int
    end: int
    ids: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    levels: list[list[bytes]] = field(default_factory=list)
    erased: int = 0


def check_span(
    connection: Connection,
    first: int,
    end: int,
    trust: TrustFile,
    erasures: Erasures,
    given: Sequence[Head] = (),
) -> SpanResult:
    """Recompute the leaves from `first` to before `end`, hold stored hashes and nodes against them, check signatures.

    Args:
        connection: to the database; only reads.
        first: a multiple of `SPAN`.
        end: at most `SPAN` further.
        trust: keys of checkpoints.
        erasures: recorded ones.
        given: heads from outside; those that end in this span are compared too.
    """
    span = _Span(connection, first, end)
    try:
        _read_leaves(span, erasures)
        _build(span)
        _compare_nodes(span)
        heads = [*_stored_heads(span, trust), *(head for head in given if first < head.size <= end)]
    except ChangedHistory as error:
        return SpanResult(first, end, changed=ChangedSpan(error.reason, error.number, error.record_id))
    placed = tuple(Head(head.size, head.root, _peaks(span, head.size - first), head.at) for head in heads)
    return SpanResult(first, end, _peaks(span, end - first), placed, span.erased)


def _read_leaves(span: _Span, erasures: Erasures) -> None:
    sha256 = hashlib.sha256
    hashes: list[bytes] = []
    number = span.first - 1
    for number, record in enumerate(stored_records(span.connection, span.first, span.end), span.first):
        if record[0] != number:
            raise ChangedHistory(
                f"The record with number {number} is missing.", number=number, record_id=record[1]
            )
        try:
            leaf = sha256(b"\x00" + leaf_bytes(record)).digest()
        except NotAsWritten as error:
            raise _changed(record, f"was changed after it was numbered: {error}") from error
        if leaf.hex() != record[11]:
            raise _changed(record, "was changed after it was numbered.")
        if record[12] is not None:
            if not texts_are_as_written(record[12], record[13], record[10]):
                raise _changed(record, "has other personal texts than those that were hashed.")
        elif record[10] is not None:
            if not erasures.explain(StoredRecord(*record)):
                raise _changed(record, "lost its personal texts, and no record says that they were erased.")
            span.erased += 1
        hashes.append(leaf)
        span.ids.append(record[1])
        span.times.append(record[2])
    if number + 1 != span.end:
        raise ChangedHistory(
            f"The record with number {number + 1} is missing, and no later one is there.", number=number + 1
        )
    span.levels.append(hashes)


def _build(span: _Span) -> None:
    sha256 = hashlib.sha256
    below = span.levels[0]
    while len(below) > 1:
        pairs = zip(below[::2], below[1::2], strict=False)  # the last of an odd number has no partner yet
        below = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        span.levels.append(below)


def _compare_nodes(span: _Span) -> None:
    for level, computed in enumerate(span.levels):
        first = span.first >> level
        if _joined_nodes(span.connection, level, first, first + len(computed)) == b"".join(computed):
            continue
        stored = dict(_nodes(span.connection, level, first, first + len(computed)))
        wrong = next((n for n, node in enumerate(computed) if stored.get(first + n) != node), 0)
        raise ChangedHistory(
            f"Node {first + wrong} of level {level} of the stored tree is not that of the records.",
            number=span.first + (wrong << level),
            record_id=span.ids[wrong << level],
        )


_WHERE_NODES = 'audit_node WHERE level = :level AND "index" >= :first AND "index" < :end'


def _nodes(connection: Connection, level: int, first: int, end: int) -> list[tuple[int, bytes]]:
    """Return indices and hashes of one level of the stored tree."""
    rows = connection.execute(
        text(f'SELECT "index", hash FROM {_WHERE_NODES}'),  # noqa: S608 - a constant
        {"level": level, "first": first, "end": end},
    )
    return [(index, bytes(node)) for index, node in rows]


def _joined_nodes(connection: Connection, level: int, first: int, end: int) -> bytes | None:
    """Return the hashes of one level one behind the other, put together by the database; None if one has not 32 bytes."""
    if connection.dialect.name == "sqlite":
        joined = f"group_concat(hex(hash), '') FROM (SELECT hash FROM {_WHERE_NODES} ORDER BY \"index\")"  # noqa: S608 - constants
    else:
        joined = f"string_agg(hash, ''::bytea ORDER BY \"index\") FROM {_WHERE_NODES}"
    row = connection.execute(
        text(f"SELECT min(length(hash)), max(length(hash)), {joined}"),
        {"level": level, "first": first, "end": end},
    ).one()
    if (row[0], row[1]) != (HASH_SIZE, HASH_SIZE):
        return None if row[0] is not None else b""
    return bytes.fromhex(row[2]) if isinstance(row[2], str) else bytes(row[2])


def stored_node(connection: Connection, level: int, index: int) -> bytes | None:
    """Return one stored node of the tree."""
    found = _nodes(connection, level, index, index + 1)
    return found[0][1] if found else None


def _stored_heads(span: _Span, trust: TrustFile) -> list[Head]:
    at = (
        "at"
        if span.connection.dialect.name == "sqlite"
        else ("to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
    )
    query = text(
        f"SELECT size, {at}, note FROM audit_checkpoint WHERE size > :first AND size <= :end ORDER BY size"  # noqa: S608 - a constant
    )
    rows = span.connection.execute(query, {"first": span.first, "end": span.end}).all()
    heads: list[Head] = []
    covered = span.first
    for size, moment, note in rows:
        heads.append(_checked_head(span, trust, (size, moment, note), covered))
        covered = size
    return heads


def _checked_head(span: _Span, trust: TrustFile, row: tuple[int, str, str], covered: int) -> Head:
    size, moment, note = row
    first = covered - span.first
    changed = partial(ChangedHistory, number=covered, record_id=span.ids[first])
    try:
        signed, keys = verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))
        at = parse_moment(moment)
    except (ProofError, ValueError, TypeError) as error:
        raise changed(f"The checkpoint of {size} records does not hold: {error}") from error
    if signed.size != size:
        raise changed(f"The checkpoint of {size} records speaks of {signed.size}.")
    if not any(key.valid_at(at) for key in keys):
        raise changed(
            f"The checkpoint of {size} records was signed by a key that was not valid then ({moment} UTC).",
        )
    newest = max(span.times[first : size - span.first])
    if parse_moment(newest) > at + CLOCK_SKEW:
        raise changed(
            f"The checkpoint of {size} records says it is older ({moment} UTC) than a record that it covers.",
        )
    return Head(size, signed.root, (), moment)


def parse_moment(value: str) -> datetime:
    """Read a moment as the database writes it.

    Raises:
        ValueError: it is none.
    """
    return datetime.strptime(value, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def _peaks(span: _Span, count: int) -> tuple[Peak, ...]:
    """Return the roots of the complete subtrees that make up the first `count` leaves of the span, largest first."""
    peaks: list[Peak] = []
    done = 0
    while done < count:
        level = (count - done).bit_length() - 1
        peaks.append((level, span.levels[level][done >> level]))
        done += 1 << level
    return tuple(peaks)


def _changed(record: Sequence[Any], says: str) -> ChangedHistory:
    return ChangedHistory(
        f"Record {record[1]} (number {record[0]}) {says}", number=record[0], record_id=record[1]
    )


def join_peaks(left: Sequence[Peak], right: Sequence[Peak]) -> tuple[list[Peak], list[tuple[int, bytes]]]:
    """Put the peaks of a span behind those of everything before it.

    Returns:
        The peaks of both, and the nodes that came to be above the span, by level, lowest first.
    """
    peaks, made = list(left), []
    for level, node in right:
        while peaks and peaks[-1][0] == level:
            node = node_hash(peaks.pop()[1], node)  # noqa: PLW2901 - a carry, as in a binary counter
            level += 1  # noqa: PLW2901 - the same
            made.append((level, node))
        peaks.append((level, node))
    return peaks, made


def fold_peaks(peaks: Sequence[Peak]) -> bytes:
    """Return the root over peaks, largest first.

    Raises:
        IndexError: there are none.
    """
    node = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        node = node_hash(left, node)
    return node
