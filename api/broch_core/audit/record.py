"""Making audit records. A leaf is the canonical JSON (RFC 8785) of opaque facts; personal texts stay erasable."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.clock import rfc3339
from broch_core.proof.canonical import canonical

LEAF_VERSION = 1


@dataclass(frozen=True)
class AuditSubject:
    """What an action was done to."""

    kind: str
    id: str | None = None
    project_id: str | None = None


def personal_digest(salt: str, texts: Mapping[str, str]) -> str:
    """Digest personal texts under their salt (64 hex digits): without the salt nothing can be guessed back."""
    return hmac.new(bytes.fromhex(salt), canonical(dict(texts)), hashlib.sha256).hexdigest()


def new_record(
    actor_id: str,
    action: str,
    subject: AuditSubject,
    *,
    facts: Mapping[str, object],
    personal: Mapping[str, str],
    outcome: str = "allowed",
) -> tuple[AuditRecord, AuditPersonal | None]:
    """Make a record and, where there are personal texts, the erasable row beside it."""
    record = AuditRecord(
        actor_id=actor_id,
        action=action,
        outcome=outcome,
        subject_kind=subject.kind,
        subject_id=subject.id,
        project_id=subject.project_id,
        facts=json.loads(canonical(dict(facts))),
    )
    if not personal:
        return record, None
    salt = secrets.token_hex(32)
    record.personal_digest = personal_digest(salt, personal)
    return record, AuditPersonal(record_id=record.id, salt=salt, texts=dict(personal))


def leaf_of(record: AuditRecord | Row[Any]) -> bytes:
    """Return the bytes whose RFC 6962 leaf hash goes into the tree, of a record or a row with its columns."""
    return canonical(
        {
            "v": LEAF_VERSION,
            "id": record.id,
            "at": rfc3339(record.at),
            "actor": record.actor_id,
            "action": record.action,
            "outcome": record.outcome,
            "subject": {"kind": record.subject_kind, "id": record.subject_id},
            "project": record.project_id,
            "facts": record.facts,
            "personal": record.personal_digest,
        }
    )
