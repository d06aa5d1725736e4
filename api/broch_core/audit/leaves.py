"""Stored records as bytes of leaves, read fast and strictly: the very text in the database is what is hashed.

The leaf is the one of `record.leaf_of`. Building it from the columns' texts is ten times faster than through objects, and
stricter: other spellings of the same JSON or moment are a change.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from broch_core.audit.record import LEAF_VERSION
from broch_core.proof import canonical
from broch_core.proof.encoding import read_json
from broch_core.proof.receipt import RECEIPT_LIMIT

_COLUMNS = (
    "r.seq, r.id, {at}, r.actor_id, r.action, r.outcome, r.subject_kind, r.subject_id, r.project_id, "
    "{facts}, r.personal_digest, r.leaf_hash, p.salt, {texts}"
)
_AS_TEXT = {
    "sqlite": {"at": "r.at", "facts": "r.facts", "texts": "p.texts"},
    "postgresql": {
        "at": "to_char(r.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        "facts": "r.facts::text",
        "texts": "p.texts::text",
    },
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}000", re.ASCII).fullmatch
_PLAIN = re.compile(r"[ !#-\[\]-~]*").fullmatch
"""Printable ASCII that JSON writes as it is."""


class StoredRecord(NamedTuple):
    """A record as the database has it: every value but the number is a text or None."""

    number: int
    id: str
    at: str
    actor: str
    action: str
    outcome: str
    kind: str
    subject: str | None
    project: str | None
    facts: str
    personal: str | None
    leaf_hash: str
    salt: str | None
    texts: str | None


class NotAsWritten(ValueError):
    """A stored value is of a form that Broch does not write."""


def stored_records(connection: Connection, first: int, end: int) -> Iterable[Sequence[Any]]:
    """Read the records numbered from `first` to before `end`, in their order, as tuples of `StoredRecord`."""
    columns = _COLUMNS.format(**_AS_TEXT[connection.dialect.name])
    query = text(
        f"SELECT {columns} FROM audit_record r LEFT JOIN audit_personal p ON p.record_id = r.id "  # noqa: S608 - constants
        "WHERE r.seq >= :first AND r.seq < :end ORDER BY r.seq"
    )
    return connection.execute(query, {"first": first, "end": end})


def leaf_bytes(record: Sequence[Any]) -> bytes:
    """Return the leaf of a stored record.

    Raises:
        NotAsWritten: a value has another form than Broch writes.
    """
    _, id_, at, actor, action, outcome, kind, subject, project, facts, personal, *_ = record
    # The columns around the facts hold no quote, so where they begin and end in the leaf is beyond doubt, and
    # bytes that hash to the leaf cannot come from values that were shifted between columns.
    try:
        if _MOMENT(at) is None:
            raise NotAsWritten("Its time is not written as Broch writes it.")
        if _PLAIN(f"{id_}{actor}{action}{outcome}{kind}{subject}{project}{personal}") is None:
            return _unusual(record)
        subject = "null" if subject is None else f'"{subject}"'
        project = "null" if project is None else f'"{project}"'
        personal = "null" if personal is None else f'"{personal}"'
        return (
            f'{{"action":"{action}","actor":"{actor}","at":"{at[:10]}T{at[11:23]}Z","facts":{facts},"id":"{id_}",'
            f'"outcome":"{outcome}","personal":{personal},"project":{project},'
            f'"subject":{{"id":{subject},"kind":"{kind}"}},"v":{LEAF_VERSION}}}'
        ).encode()
    except (TypeError, UnicodeError) as error:
        raise NotAsWritten("A value in it is of another type than Broch writes.") from error


def _unusual(record: Sequence[Any]) -> bytes:
    """Return the leaf of a record whose ids hold characters that JSON escapes."""
    row = StoredRecord(*record)
    try:
        facts = read_json(row.facts.encode(), what="facts", limit=RECEIPT_LIMIT)
        if canonical(facts) != row.facts.encode():
            raise NotAsWritten("Its facts are not in canonical form.")
        return canonical(
            {
                "v": LEAF_VERSION,
                "id": row.id,
                "at": f"{row.at[:10]}T{row.at[11:23]}Z",
                "actor": row.actor,
                "action": row.action,
                "outcome": row.outcome,
                "subject": {"kind": row.kind, "id": row.subject},
                "project": row.project,
                "facts": facts,
                "personal": row.personal,
            }
        )
    except (ValueError, AttributeError) as error:
        raise NotAsWritten(str(error)) from error


def texts_are_as_written(salt: str, texts: str, digest: str | None) -> bool:
    """Tell whether personal texts are those whose digest is in the leaf."""
    try:
        return hmac.digest(bytes.fromhex(salt), texts.encode(), "sha256").hex() == digest
    except (TypeError, ValueError, AttributeError):
        return False
