"""Erasing personal texts: the texts and their salt go, the digest in the leaf stays, and a record says so."""

from __future__ import annotations

from sqlmodel import Session, and_, col, delete, func, or_, select

from broch_core.actions import Action
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.errors import NotFound
from broch_core.store.unit import Change


def erase_texts_of_person(change: Change, actor_id: str, person_id: str) -> int:
    """Erase the personal texts of all records that a person made or that are about them; return how many there were.

    The salt goes with the text: from the digest alone nothing can be guessed back.
    """
    about = and_(AuditRecord.subject_kind == "person", AuditRecord.subject_id == person_id)
    theirs = select(AuditRecord.id).where(or_(AuditRecord.actor_id == person_id, about))
    count = _erase(change.session, col(AuditPersonal.record_id).in_(theirs))
    change.audit(actor_id, Action.AUDIT_ERASE, AuditSubject("person", person_id), facts={"texts": count})
    return count


def erase_texts_of_record(change: Change, actor_id: str, record_id: str) -> int:
    """Erase the personal texts of one record; return how many there were, 0 or 1.

    Raises:
        NotFound: there is no such record.
    """
    if change.session.exec(select(AuditRecord.id).where(AuditRecord.id == record_id)).first() is None:
        raise NotFound
    count = _erase(change.session, col(AuditPersonal.record_id) == record_id)
    change.audit(
        actor_id, Action.AUDIT_ERASE, AuditSubject("audit_record", record_id), facts={"texts": count}
    )
    return count


def _erase(session: Session, which: object) -> int:
    count = session.exec(select(func.count()).select_from(AuditPersonal).where(which)).one()  # type: ignore[arg-type]
    session.execute(delete(AuditPersonal).where(which))  # type: ignore[arg-type]
    return count
