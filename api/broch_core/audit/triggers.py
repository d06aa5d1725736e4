"""Triggers of the audit log: stored history does not change, whatever the code above asks for.

A record may get its number and leaf hash once; nothing else of it ever changes. Nodes and checkpoints only come.
Personal texts may be deleted (erasure) but not edited.
"""

from __future__ import annotations

_FIXED = (
    "id",
    "at",
    "actor_id",
    "action",
    "outcome",
    "subject_kind",
    "subject_id",
    "project_id",
    "facts",
    "personal_digest",
)
_KEPT = ("audit_record", "audit_node", "audit_checkpoint")
_UNCHANGING = ("audit_node", "audit_checkpoint", "audit_personal")


_FIXED_TEXT = "The audit log does not change."
_KEPT_TEXT = "Nothing is deleted from the audit log."


def sqlite_triggers() -> list[str]:
    """Return the statements for SQLite."""
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _FIXED)
    return [
        _sqlite(
            "audit_record_fixed", f"UPDATE ON audit_record WHEN OLD.seq IS NOT NULL OR {changed}", _FIXED_TEXT
        ),
        *(_sqlite(f"{table}_kept", f"DELETE ON {table}", _KEPT_TEXT) for table in _KEPT),
        *(_sqlite(f"{table}_unchanging", f"UPDATE ON {table}", _FIXED_TEXT) for table in _UNCHANGING),
    ]


def postgresql_triggers() -> list[str]:
    """Return the statements for PostgreSQL."""
    # `json` has no equality there: its text is compared.
    changed = " OR ".join(f"OLD.{name}::text IS DISTINCT FROM NEW.{name}::text" for name in _FIXED)
    function = "$$ BEGIN RAISE EXCEPTION 'broch: %', TG_ARGV[0]; END $$"
    return [
        f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS {function}",
        _postgresql(
            "audit_record_fixed",
            "UPDATE ON audit_record",
            f"FOR EACH ROW WHEN (OLD.seq IS NOT NULL OR {changed})",
            _FIXED_TEXT,
        ),
        *(_postgresql(f"{t}_kept", f"DELETE ON {t}", "FOR EACH ROW", _KEPT_TEXT) for t in _KEPT),
        *(_postgresql(f"{t}_unchanging", f"UPDATE ON {t}", "FOR EACH ROW", _FIXED_TEXT) for t in _UNCHANGING),
        *(
            _postgresql(f"{t}_untruncated", f"TRUNCATE ON {t}", "FOR EACH STATEMENT", _KEPT_TEXT)
            for t in (*_KEPT, "audit_personal")
        ),
    ]


def _sqlite(name: str, when: str, says: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, 'broch: {says}'); END"


def _postgresql(name: str, when: str, scope: str, says: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} {scope} EXECUTE FUNCTION audit_refuse('{says}')"
