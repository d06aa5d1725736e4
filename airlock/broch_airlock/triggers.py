"""Triggers of the airlock: the database keeps what the rules promise, should code err (see `tables`).

One list of rules serves SQLite and PostgreSQL: a rule is an SQL condition over OLD and NEW under which a change is
refused, with the sentence that says why. On PostgreSQL rules about independence lock the project's row first, as the
code above does, so that a decision and a change of membership never run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

_REQUEST_OF_NEW_FILE = "(SELECT r.status FROM airlock_request r WHERE r.id = NEW.request_id)"
_REQUEST_OF_OLD_FILE = "(SELECT r.status FROM airlock_request r WHERE r.id = OLD.request_id)"
_OPEN = "('draft', 'returned')"
_FILE_TEXT = "The bytes of a request change only while it is a draft or returned."
_FIXED_TEXT = "A decision does not change; it is superseded by a newer one."
_RELEASE_TEXT = "A release does not change."


def _of_file(which: str, column: str) -> str:
    return (
        f"(SELECT r.{column} FROM airlock_request r JOIN airlock_file f ON f.request_id = r.id "  # noqa: S608 - constants
        f"WHERE f.id = {which}.file_id)"
    )


def _differs(*columns: str) -> str:
    return " OR ".join(f"CAST(OLD.{c} AS TEXT) <> CAST(NEW.{c} AS TEXT)" for c in columns)


_TOO_FEW_APPROVALS = (
    "NOT EXISTS (SELECT 1 FROM airlock_file f WHERE f.request_id = {request}.id) "
    "OR EXISTS (SELECT 1 FROM airlock_file f WHERE f.request_id = {request}.id AND ("
    "SELECT COUNT(DISTINCT d.reviewer_id) FROM airlock_decision d "
    "WHERE d.file_id = f.id AND d.sha256 = f.sha256 AND d.superseded_at IS NULL AND d.opinion = 'approve' "
    "AND d.reviewer_id <> {request}.author_id AND NOT EXISTS (SELECT 1 FROM membership m "
    "WHERE m.project_id = {request}.project_id AND m.person_id = d.reviewer_id)) < 2)"
)


@dataclass(frozen=True)
class _Rule:
    name: str
    event: str
    """INSERT, UPDATE or DELETE."""
    table: str
    refused: str
    """SQL condition under which the change is refused; the same text on both databases."""
    says: str
    project: str | None = None
    """SQL expression of the project whose row is locked first, where the database has row locks."""


_RULES = (
    _Rule("airlock_request_begins", "INSERT", "airlock_request", "NEW.status <> 'draft'", "A request begins as a draft."),
    _Rule(
        "airlock_request_fixed", "UPDATE", "airlock_request", _differs("id", "project_id", "direction", "author_id"),
        "Project, direction and author of a request do not change.",
    ),
    _Rule("airlock_request_kept", "DELETE", "airlock_request", "OLD.status <> 'draft'", "A submitted request is kept."),
    _Rule(
        "airlock_request_ended", "UPDATE", "airlock_request",
        "OLD.status IN ('rejected', 'withdrawn', 'recalled') AND NEW.status <> OLD.status",
        "A request that has ended does not begin again.",
    ),
    _Rule(
        "airlock_request_leaves_review", "UPDATE", "airlock_request",
        "OLD.status = 'in_review' AND NEW.status NOT IN ('in_review', 'approved', 'returned', 'rejected', 'withdrawn')",
        "A request leaves review by a decision or by being withdrawn.",
    ),
    _Rule(
        "airlock_request_approval", "UPDATE", "airlock_request",
        "NEW.status = 'approved' AND OLD.status <> 'approved' "
        "AND NOT (OLD.status = 'checking' AND NEW.direction = 'ingress') "
        f"AND (OLD.status <> 'in_review' OR {_TOO_FEW_APPROVALS.format(request='NEW')})",
        "Every file needs the approval of two independent reviewers for its present bytes.",
        project="NEW.project_id",
    ),
    _Rule(
        "airlock_request_releasing", "UPDATE", "airlock_request",
        "NEW.status = 'releasing' AND OLD.status NOT IN ('releasing', 'approved', 'failed')",
        "Only an approved request is released.",
    ),
    _Rule(
        "airlock_request_released", "UPDATE", "airlock_request",
        "NEW.status = 'released' AND OLD.status <> 'released' AND (OLD.status <> 'releasing' "
        "OR NOT EXISTS (SELECT 1 FROM airlock_release l WHERE l.request_id = NEW.id AND l.receipt IS NOT NULL))",
        "A request is released once its receipt is written.",
    ),
    _Rule(
        "airlock_request_stays_released", "UPDATE", "airlock_request",
        "OLD.status = 'released' AND NEW.status NOT IN ('released', 'recalled')",
        "What was released can only be recalled.",
    ),
    _Rule(
        "airlock_request_recalled", "UPDATE", "airlock_request",
        "NEW.status = 'recalled' AND OLD.status <> 'recalled' AND (OLD.status <> 'released' "
        "OR NOT EXISTS (SELECT 1 FROM airlock_recall c JOIN airlock_release l ON l.id = c.release_id "
        "WHERE l.request_id = NEW.id))",
        "Only a release is recalled, with its record.",
    ),
    _Rule(
        "airlock_file_comes", "INSERT", "airlock_file", f"{_REQUEST_OF_NEW_FILE} NOT IN {_OPEN}", _FILE_TEXT
    ),
    _Rule(
        "airlock_file_changes", "UPDATE", "airlock_file",
        f"({_differs('id', 'request_id', 'name', 'size', 'sha256', 'turn')}) "
        f"AND ({_REQUEST_OF_OLD_FILE} NOT IN {_OPEN} OR {_REQUEST_OF_NEW_FILE} NOT IN {_OPEN})",
        _FILE_TEXT,
    ),
    _Rule(
        "airlock_file_goes", "DELETE", "airlock_file", f"{_REQUEST_OF_OLD_FILE} NOT IN {_OPEN}", _FILE_TEXT
    ),
    _Rule(
        "airlock_bytes_come", "INSERT", "airlock_bytes", f"{_of_file('NEW', 'status')} NOT IN {_OPEN}", _FILE_TEXT
    ),
    _Rule(
        "airlock_bytes_fixed", "UPDATE", "airlock_bytes", _differs("file_id", "sha256", "turn", "size"),
        "What bytes a file had does not change.",
    ),
    _Rule(
        "airlock_bytes_go", "DELETE", "airlock_bytes", f"{_of_file('OLD', 'status')} NOT IN {_OPEN}", _FILE_TEXT
    ),
    _Rule(
        "airlock_decision_state", "INSERT", "airlock_decision", f"{_of_file('NEW', 'status')} <> 'in_review'",
        "Decisions are made while a request is in review.",
        project=_of_file("NEW", "project_id"),
    ),
    _Rule(
        "airlock_decision_bytes_present", "INSERT", "airlock_decision",
        "NOT EXISTS (SELECT 1 FROM airlock_file f "
        "WHERE f.id = NEW.file_id AND f.sha256 = NEW.sha256 AND f.turn = NEW.turn)",
        "A decision is about the present bytes of a file.",
    ),
    _Rule(
        "airlock_decision_independent", "INSERT", "airlock_decision",
        f"NEW.reviewer_id = {_of_file('NEW', 'author_id')} OR NEW.reviewer_id IN "  # noqa: S608 - constants
        f"(SELECT m.person_id FROM membership m WHERE m.project_id = {_of_file('NEW', 'project_id')})",
        "Neither the author nor anybody who ever was a member of the project decides.",
        project=_of_file("NEW", "project_id"),
    ),
    _Rule(
        "airlock_decision_fixed", "UPDATE", "airlock_decision",
        "OLD.superseded_at IS NOT NULL OR "
        + _differs("id", "file_id", "sha256", "turn", "reviewer_id", "opinion", "comment", "at"),
        _FIXED_TEXT,
    ),
    _Rule("airlock_decision_kept", "DELETE", "airlock_decision", "1 = 1", "Decisions are never deleted."),
    _Rule(
        "membership_comes", "INSERT", "membership", "1 = 0", "Memberships come one after the other.",
        project="NEW.project_id",
    ),
    _Rule(
        "membership_fixed", "UPDATE", "membership", _differs("project_id", "person_id", "since"),
        "Memberships are history: they end, they do not change.",
    ),
    _Rule(
        "membership_kept", "DELETE", "membership", "1 = 1", "Memberships are history: they end, they are not deleted."
    ),
    _Rule(
        "airlock_release_state", "INSERT", "airlock_release",
        "(SELECT r.status FROM airlock_request r WHERE r.id = NEW.request_id) <> 'releasing'",
        "A release is recorded while its request is releasing.",
    ),
    _Rule(
        "airlock_release_approved", "INSERT", "airlock_release",
        "EXISTS (SELECT 1 FROM airlock_request r WHERE r.id = NEW.request_id AND (r.direction = 'egress' "  # noqa: S608 - constants
        "OR EXISTS (SELECT 1 FROM airlock_decision d JOIN airlock_file f ON f.id = d.file_id "
        f"WHERE f.request_id = r.id AND d.superseded_at IS NULL)) AND ({_TOO_FEW_APPROVALS.format(request='r')}))",
        "Every file needs the approval of two independent reviewers for its present bytes.",
        project="NEW.project_id",
    ),
    _Rule(
        "airlock_release_fixed", "UPDATE", "airlock_release",
        "OLD.receipt IS NOT NULL OR "
        + _differs("id", "request_id", "project_id", "direction", "at", "envelope", "record_id"),
        _RELEASE_TEXT,
    ),
    _Rule("airlock_release_kept", "DELETE", "airlock_release", "1 = 1", "Releases are never deleted."),
    _Rule(
        "airlock_released_file_bytes", "INSERT", "airlock_released_file",
        "NOT EXISTS (SELECT 1 FROM airlock_file f JOIN airlock_release l ON l.request_id = f.request_id "
        "WHERE l.id = NEW.release_id AND f.id = NEW.file_id AND f.sha256 = NEW.sha256 AND f.name = NEW.name)",
        "A released file has the bytes that were approved.",
    ),
    _Rule("airlock_released_file_fixed", "UPDATE", "airlock_released_file", "1 = 1", _RELEASE_TEXT),
    _Rule("airlock_released_file_kept", "DELETE", "airlock_released_file", "1 = 1", "Releases are never deleted."),
    _Rule("airlock_recall_fixed", "UPDATE", "airlock_recall", "1 = 1", "A recall does not change."),
    _Rule("airlock_recall_kept", "DELETE", "airlock_recall", "1 = 1", "Recalls are never deleted."),
    _Rule(
        "airlock_deletion_rests", "INSERT", "airlock_deletion",
        "(SELECT r.status FROM airlock_request r WHERE r.id = NEW.request_id) "
        "NOT IN ('withdrawn', 'quarantined', 'failed', 'released', 'recalled')",
        "Bytes of an open request are not deleted.",
        project="NEW.project_id",
    ),
    _Rule(
        "airlock_deletion_fixed", "UPDATE", "airlock_deletion",
        "OLD.certificate IS NOT NULL OR "
        + _differs("id", "request_id", "project_id", "blob_class", "at_rest_since", "retention_seconds", "begun_at")
        + " OR (OLD.record_id IS NOT NULL AND (NEW.record_id IS NULL OR NEW.deleted_at IS NULL OR NEW.envelope IS NULL OR "
        + _differs("record_id", "deleted_at", "envelope")
        + "))",
        "A deletion does not change.",
    ),
    _Rule("airlock_deletion_kept", "DELETE", "airlock_deletion", "1 = 1", "Deletions stay on record."),
    _Rule("airlock_deleted_file_fixed", "UPDATE", "airlock_deleted_file", "1 = 1", "A deletion does not change."),
    _Rule("airlock_deleted_file_kept", "DELETE", "airlock_deleted_file", "1 = 1", "Deletions stay on record."),
    _Rule(
        "airlock_request_deleted", "UPDATE", "airlock_request",
        "NEW.status = 'releasing' AND OLD.status <> 'releasing' "
        "AND EXISTS (SELECT 1 FROM airlock_deletion d WHERE d.request_id = NEW.id)",
        "The bytes of this request were deleted: it cannot be released any more.",
    ),
    _Rule(
        "airlock_ticket_once", "UPDATE", "airlock_ticket",
        "OLD.used_at IS NOT NULL OR "
        + _differs("token_hash", "kind", "session_id", "person_id", "file_id", "sha256", "turn", "expires_at"),
        "A ticket is used once.",
    ),
)  # fmt: skip
_UNTRUNCATED = (
    "airlock_decision",
    "membership",
    "airlock_release",
    "airlock_released_file",
    "airlock_recall",
    "airlock_deletion",
    "airlock_deleted_file",
)
"""Tables whose rows stay; PostgreSQL's TRUNCATE passes row triggers by."""


def sqlite_triggers() -> list[str]:
    """Return the statements for SQLite, where writers come one after the other."""
    return [
        f"CREATE TRIGGER {rule.name} BEFORE {rule.event} ON {rule.table} BEGIN "
        f"SELECT RAISE(ABORT, 'broch: {rule.says}') WHERE {rule.refused}; END"
        for rule in _RULES
        if rule.refused != "1 = 0"
    ]


def postgresql_triggers() -> list[str]:
    """Return the statements for PostgreSQL."""
    statements: list[str] = []
    for rule in _RULES:
        lock = f"PERFORM 1 FROM project WHERE id = {rule.project} FOR UPDATE; " if rule.project else ""
        row = "OLD" if rule.event == "DELETE" else "NEW"
        statements += [
            _function(
                rule.name,
                f"{lock}IF {rule.refused} THEN RAISE EXCEPTION 'broch: {rule.says}'; END IF; RETURN {row};",
            ),
            _calls(rule.name, f"{rule.event} ON {rule.table} FOR EACH ROW"),
        ]
    for table in _UNTRUNCATED:
        statements += [
            _function(f"{table}_untruncated", f"RAISE EXCEPTION 'broch: Nothing is deleted from {table}.';"),
            _calls(f"{table}_untruncated", f"TRUNCATE ON {table} FOR EACH STATEMENT"),
        ]
    return statements


def _function(name: str, body: str) -> str:
    # Whoever calls sets no search path here: an empty temporary table `membership` would stand before the real one.
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql "
        f"SET search_path = pg_catalog, public, pg_temp AS $$ BEGIN {body} END $$"
    )


def _calls(name: str, when: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION {name}()"
