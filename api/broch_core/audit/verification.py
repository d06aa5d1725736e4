"""Checking the stored history against what was signed, from the records up: in constant memory, on several cores.

Recomputed are every leaf from its record and every node of the tree; held against it are the stored hashes, the root and
the signature of every checkpoint, the periods of the keys, erasures, and a checkpoint that somebody kept elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlmodel import Session

from broch_core.actions import Action
from broch_core.audit.spans import (
    CLOCK_SKEW,
    SPAN,
    ChangedHistory,
    Erasures,
    Head,
    Peak,
    SpanResult,
    check_span,
    fold_peaks,
    join_peaks,
    parse_moment,
    stored_node,
)
from broch_core.audit.workers import check_spans
from broch_core.proof import Checkpoint, ProofError, Purpose, TrustFile, verify_checkpoint

ALONE = 4 * SPAN
"""Up to so many records one process is faster than starting more."""
MOST_PROCESSES = 8

Progress = Callable[[int, int], None]
"""Called with how many records are checked, and of how many."""


@dataclass(frozen=True)
class VerifyResult:
    """Whether the stored history is the one that was signed."""

    ok: bool
    size: int
    first_bad: str | None
    """Id of the first record that is not as it was signed."""
    reason: str
    first_bad_number: int | None = None
    """Its number, also where the record itself is gone."""
    checkpoints: int = 0
    """Signed tree heads that were checked."""
    erased: int = 0
    """Records whose personal texts were erased, each explained by a record of the erasure."""
    first: int = 0
    """Number of the first record that was recomputed."""


def verify_history(session: Session, origin: str, trust: TrustFile) -> VerifyResult:
    """Verify the whole history that a session sees, in this process."""
    return Verification(session.connection(), TrustFile(origin, trust.keys)).run()


def verify_database(
    engine: Engine,
    trust: TrustFile,
    *,
    trusted: str | None = None,
    only_newer: bool = False,
    live_at: datetime | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> VerifyResult:
    """Verify the history in a database; a long one on several cores.

    Args:
        engine: of the database; only reads.
        trust: the log's name and the keys to believe.
        trusted: a checkpoint (signed note) kept elsewhere: the log has to continue it.
        only_newer: recompute only what came after `trusted`, and of the older records that their tree is stored.
        live_at: the present moment where the log is a running one: its newest checkpoint is then by a key in force.
        processes: how many to use; by default as many as there are cores, one for a short log.
        progress: called after every piece.
    """
    if engine.dialect.name != "sqlite":  # one moment for all statements, as SQLite does anyway
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        check = Verification(connection, trust, trusted, only_newer=only_newer, live_at=live_at)
        wanted = min(processes or os.cpu_count() or 1, MOST_PROCESSES)
        if wanted > 1 and check.newest_size() > ALONE:
            url = engine.url.render_as_string(hide_password=False)
            return check.run(progress, lambda spans: check_spans(url, wanted, spans, trust, *check.context()))
        return check.run(progress)


@dataclass
class _State:
    peaks: list[Peak] = field(default_factory=list)
    size: int = 0
    """Records that a matching head has vouched for."""
    at: str = ""
    checkpoints: int = 0
    erased: int = 0


class Verification:
    """One look at one history."""

    def __init__(
        self,
        connection: Connection,
        trust: TrustFile,
        trusted: str | None = None,
        *,
        only_newer: bool = False,
        live_at: datetime | None = None,
    ) -> None:
        self._connection = connection
        self._trust = trust
        self._trusted = trusted
        self._only_newer = only_newer
        self._live_at = live_at
        self._given: list[Head] = []
        self._erasures = Erasures({}, {})

    def newest_size(self) -> int:
        """Return how many records the newest checkpoint speaks of."""
        return int(self._connection.execute(text("SELECT max(size) FROM audit_checkpoint")).scalar() or 0)

    def context(self) -> tuple[Erasures, Sequence[Head]]:
        """Return what every span needs to know of the whole."""
        return self._erasures, self._given

    def run(
        self,
        progress: Progress | None = None,
        check: Callable[[Sequence[tuple[int, int]]], Iterator[SpanResult]] | None = None,
    ) -> VerifyResult:
        """Verify."""
        size = self.newest_size()
        state = _State()
        first = 0
        try:
            first = self._begin(size, state)
            spans = [(at, min(at + SPAN, size)) for at in range(first, size, SPAN)]
            results = (check or self._here)(spans)
            for result in results:
                self._take(result, state)
                if progress is not None:
                    progress(result.end, size)
            self._end(size)
        except ChangedHistory as error:
            return VerifyResult(
                ok=False,
                size=size,
                first_bad=error.record_id or self._id_of(error.number),
                reason=error.reason,
                first_bad_number=error.number,
                checkpoints=state.checkpoints,
                erased=state.erased,
                first=first,
            )
        return VerifyResult(
            ok=True,
            size=size,
            first_bad=None,
            reason=_says(size, first, state.erased, trusted=bool(self._given)),
            checkpoints=state.checkpoints,
            erased=state.erased,
            first=first,
        )

    def _here(self, spans: Sequence[tuple[int, int]]) -> Iterator[SpanResult]:
        for first, end in spans:
            yield check_span(self._connection, first, end, self._trust, *self.context())

    def _begin(self, size: int, state: _State) -> int:
        """Look at the ends of the log; return the first record to recompute."""
        last = self._connection.execute(text("SELECT max(seq) FROM audit_record")).scalar()
        numbered = 0 if last is None else int(last) + 1
        trusted = self._trusted_head()
        if trusted is not None and trusted.size > size:
            raise ChangedHistory(
                f"The trusted checkpoint speaks of {trusted.size} records, the log's newest of {size}: "
                "the log was cut, or this is an older copy of it.",
                number=size,
            )
        if numbered != size:
            raise ChangedHistory(
                f"The newest checkpoint speaks of {size} records, but {numbered} are numbered.",
                number=min(size, numbered),
            )
        self._erasures = self._read_erasures()
        if trusted is None or trusted.size == 0:
            return 0
        self._given = [Head(trusted.size, trusted.root, (), "")]
        if not self._only_newer:
            return 0
        first = (trusted.size - 1) // SPAN * SPAN
        state.peaks = self._stored_peaks(first)
        state.size = first
        return first

    def _trusted_head(self) -> Checkpoint | None:
        if self._trusted is None:
            return None
        try:
            return verify_checkpoint(self._trusted, self._trust.origin, self._trust.of(Purpose.CHECKPOINT))[0]
        except ProofError as error:
            raise ChangedHistory(f"The checkpoint to start from cannot be used: {error}") from error

    def _stored_peaks(self, size: int) -> list[Peak]:
        peaks: list[Peak] = []
        done = 0
        while done < size:
            level = (size - done).bit_length() - 1
            node = stored_node(self._connection, level, done >> level)
            if node is None:
                raise ChangedHistory(
                    f"Node {done >> level} of level {level} of the stored tree is missing.", number=done
                )
            peaks.append((level, node))
            done += 1 << level
        return peaks

    def _read_erasures(self) -> Erasures:
        query = text(
            "SELECT subject_kind, subject_id, seq FROM audit_record WHERE action = :action AND seq >= 0"
        )
        people: dict[str, int] = {}
        records: dict[str, int] = {}
        for kind, subject, number in self._connection.execute(query, {"action": str(Action.AUDIT_ERASE)}):
            found = records if kind == "audit_record" else people
            found[subject] = max(number, found.get(subject, -1))
        return Erasures(people, records)

    def _take(self, result: SpanResult, state: _State) -> None:
        if (bad := result.changed) is not None:
            raise ChangedHistory(bad.reason, number=bad.number, record_id=bad.record_id)
        for head in sorted(result.heads, key=lambda head: head.size):
            self._compare(head, state)
        state.peaks, made = join_peaks(state.peaks, result.peaks)
        for level, node in made:
            index = (result.end - 1) >> level
            if stored_node(self._connection, level, index) != node:
                raise ChangedHistory(
                    f"Node {index} of level {level} of the stored tree is not that of the records.",
                    number=index << level,
                )
        state.erased += result.erased

    def _compare(self, head: Head, state: _State) -> None:
        if fold_peaks(join_peaks(state.peaks, head.peaks)[0]) != head.root:
            who = "The checkpoint" if head.at else "The trusted checkpoint"
            raise ChangedHistory(
                f"{who} of {head.size} records was signed over other records than are stored: "
                f"one of {state.size} to {head.size - 1} is not what it was.",
                number=state.size,
            )
        if head.at and state.at and parse_moment(head.at) + CLOCK_SKEW < parse_moment(state.at):
            raise ChangedHistory(
                f"The checkpoint of {head.size} records says it is older than the one before it.",
                number=state.size,
            )
        state.size = head.size
        state.at = head.at or state.at
        state.checkpoints += bool(head.at)

    def _end(self, size: int) -> None:
        extra = text('SELECT level, "index" FROM audit_node WHERE level = :level AND "index" >= :end LIMIT 1')
        for level in range(size.bit_length() + 1):
            if found := self._connection.execute(extra, {"level": level, "end": size >> level}).first():
                raise ChangedHistory(
                    f"Node {found[1]} of level {found[0]} belongs to no record.", number=size
                )
        beyond = text("SELECT level FROM audit_node WHERE level < 0 OR level > :most LIMIT 1")
        if self._connection.execute(beyond, {"most": size.bit_length()}).first():
            raise ChangedHistory("The stored tree has levels that no record made.", number=size)
        if self._live_at is not None and size:
            self._check_key_in_force(self._live_at)

    def _check_key_in_force(self, at: datetime) -> None:
        note = self._connection.execute(
            text("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1")
        ).scalar_one()
        _, keys = verify_checkpoint(note, self._trust.origin, self._trust.of(Purpose.CHECKPOINT))
        if not any(key.valid_at(at) for key in keys):
            raise ChangedHistory(
                "The newest checkpoint was signed by a key whose period is over, though every rotation is followed by a "
                "checkpoint of the new key: the log was cut and signed again, or this is an older copy of it."
            )

    def _id_of(self, number: int | None) -> str | None:
        if number is None:
            return None
        query = text("SELECT id FROM audit_record WHERE seq = :number")
        found: str | None = self._connection.execute(query, {"number": number}).scalar()
        return found


def _says(size: int, first: int, erased: int, *, trusted: bool) -> str:
    if not size:
        return "The log is empty."
    parts = [f"All {size} records are as they were signed."]
    if first:
        parts = [f"The records {first} to {size - 1} are as they were signed, and continue the older ones."]
    if trusted:
        parts.append("The log continues the trusted checkpoint.")
    if erased:
        parts.append(f"The personal texts of {erased} were erased, as the log records.")
    return " ".join(parts)
