"""Units of work. A change without an audit record is rolled back: no audit, no action (design, rule 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, SQLModel, insert, update

from broch_core import faults
from broch_core.actions import Action
from broch_core.audit.record import AuditSubject, new_record
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.errors import Conflict, UnauditedChange
from broch_core.lifecycle import E, Lifecycle, S
from broch_core.outbox.tables import OutboxEntry
from broch_core.store.away import told_apart
from broch_core.store.group import GroupedTransactions, OwnTransactions, Transactions
from broch_core.store.written import ANY_TABLE, Epochs, watch, written

_INSERT_RECORD = insert(AuditRecord)
_INSERT_TEXTS = insert(AuditPersonal)


class Change:
    """One writing transaction: its session, its audit records, its intents for after the commit."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._records = 0
        self.exempt = False
        """Housekeeping that is no change of state (sessions seen, outbox progress, sequencing)."""

    def audit(
        self,
        actor_id: str,
        action: Action | str,
        subject: AuditSubject,
        *,
        facts: Mapping[str, object] | None = None,
        personal: Mapping[str, str] | None = None,
        outcome: str = "allowed",
    ) -> str:
        """Write the record of what this transaction does; return its id.

        Args:
            actor_id: opaque id of who acts, or `system`.
            action: what is done.
            subject: what it is done to.
            facts: opaque facts (ids, digests, counts, states) that go into the hashed leaf.
            personal: texts about persons or content (names, file names); erasable, only their salted digest is hashed.
            outcome: `allowed`, or `denied` where the change is that a refusal is counted.
        """
        record, texts = new_record(
            actor_id, str(action), subject, facts=facts or {}, personal=personal or {}, outcome=outcome
        )
        # Straight to the connection: nothing looks at these rows again here, so the session need not know them.
        connection = self.session.connection()
        connection.execute(_INSERT_RECORD, record.model_dump())
        if texts is not None:
            connection.execute(_INSERT_TEXTS, texts.model_dump())
        self._records += 1
        return record.id

    def later(self, kind: str, key: str, payload: Mapping[str, object]) -> None:
        """Put a side effect into the outbox; it runs after the commit, at least once, under this key."""
        self.session.add(OutboxEntry(kind=kind, key=key, payload=dict(payload)))

    def advance(
        self,
        lifecycle: Lifecycle[S, E],
        row: Any,
        event_: E,
        **values: object,
    ) -> S:
        """Move `row` along its life cycle by compare-and-swap on (id, status, version); refresh it.

        Raises:
            Conflict: the event does not fit the state, or somebody else was first.
        """
        table: type[SQLModel] = type(row)
        target = lifecycle.after(row.status, event_)
        columns: Any = table
        self.session.flush()
        done = self.session.exec(
            update(table)
            .where(columns.id == row.id, columns.status == row.status, columns.version == row.version)
            .values(status=target, version=row.version + 1, **values)
            .execution_options(synchronize_session=False)
        )
        if done.rowcount != 1:
            raise Conflict(
                f"The {lifecycle.noun} was changed by somebody else a moment ago.",
                remedy="Load it again and look at its present state.",
            )
        self.session.refresh(row)
        return target

    def check(self, *, changed: bool) -> None:
        """Refuse a change that nobody recorded."""
        if changed and not self._records and not self.exempt:
            raise UnauditedChange("a transaction changed rows without an audit record")


class Store:
    """Reads and writes of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        writer = engine.execution_options(broch_writes=True)
        watch(writer)
        self._committed: list[tuple[str, Callable[[], None]]] = []
        self._epochs = Epochs()
        self._transaction: Transactions = (GroupedTransactions if self.single_process else OwnTransactions)(
            writer, self._epochs.committed
        )

    @property
    def single_process(self) -> bool:
        """Whether this process is the only writer (SQLite)."""
        return self.engine.dialect.name == "sqlite"

    def epoch(self, tables: Collection[str]) -> int:
        """Return a number that grows with every commit of this process that may have changed one of `tables`.

        What was read from them under one number still holds, where one process owns the database.
        """
        return self._epochs.of(tables)

    def after_commit(self, table: str, call: Callable[[], None]) -> None:
        """Call `call` after every commit that wrote `table`; it must only wake somebody."""
        self._committed.append((table, call))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a reading transaction; nothing is written.

        Raises:
            Unavailable: the database does not answer.
        """
        with (
            told_apart(self.engine),
            Session(self.engine, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    @contextmanager
    def write(self, *, housekeeping: bool = False) -> Iterator[Change]:
        """Open a writing transaction; it commits at the end, or not at all.

        Raises:
            Conflict: a constraint of the database says no.
            UnauditedChange: rows were changed, but no audit record was written.
            Unavailable: other writers take too long, or the database does not answer.
        """
        try:
            with told_apart(self.engine) as progress, self._transaction() as session:
                change = Change(session)
                change.exempt = housekeeping
                yield change
                session.flush()
                tables = written(session.connection())
                change.check(changed=bool(tables))
                faults.point("store.changed")
                progress.commits = True
        except IntegrityError as error:
            raise Conflict(constraint_text(error)) from error
        except DBAPIError as error:
            # Our own triggers raise with a sentence; PostgreSQL calls that an internal error, not an integrity one.
            if (text := trigger_text(error)) is not None:
                raise Conflict(text) from error
            raise
        faults.point("store.committed")
        for table, call in self._committed:
            if table in tables or ANY_TABLE in tables:
                call()


TRIGGER_MARK = "broch: "
"""Our triggers begin their message with this, so that it can be told from other errors."""


def trigger_text(error: DBAPIError) -> str | None:
    """Return the sentence of one of our triggers, if it was one that said no."""
    text = str(error.orig)
    if TRIGGER_MARK not in text:
        return None
    return text.split(TRIGGER_MARK, 1)[1].splitlines()[0].strip()


def constraint_text(error: IntegrityError) -> str:
    """Say in plain words which kind of constraint was broken."""
    if (text := trigger_text(error)) is not None:
        return text
    lowered = str(error.orig).lower()
    if "unique" in lowered or "duplicate" in lowered:
        return "Something with this name or in this place exists already."
    if "foreign key" in lowered:
        return "It refers to something that does not exist here."
    return "The database refused the change: a rule of the data model would be broken."
