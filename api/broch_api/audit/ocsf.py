"""Audit records as events of OCSF (Open Cybersecurity Schema Framework 1.3), class API Activity, for SIEMs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from broch_core.audit.tables import AuditRecord
from broch_core.clock import rfc3339

VERSION = "1.3.0"
_CATEGORY = 6
"""Application Activity."""
_CLASS = 6003
"""API Activity."""
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_ACTIVITIES = {
    **dict.fromkeys(("create", "add", "start", "open", "upload", "submit", "grant", "release"), _CREATE),
    **dict.fromkeys(("read", "list", "view", "queue", "browse", "download", "receipt", "verify"), _READ),
    **dict.fromkeys(("delete", "remove", "erase", "revoke", "withdraw", "end", "stop", "recall"), _DELETE),
}
"""Activity by the last word of an action; everything else updates something."""
_USER, _SYSTEM = 1, 3


def ocsf_event(record: AuditRecord, origin: str) -> dict[str, Any]:
    """Return a record as an OCSF event; opaque ids only, so that nothing in a SIEM ever has to be erased.

    Args:
        record: numbered or not.
        origin: name of the log.
    """
    verb = record.action.partition(":")[2].rpartition("-")[2]
    activity = _ACTIVITIES.get(verb, _UPDATE)
    allowed = record.outcome == "allowed"
    resources = [{"type": record.subject_kind, "uid": record.subject_id}]
    if record.project_id is not None:
        resources.append({"type": "project", "uid": record.project_id})
    return {
        "category_uid": _CATEGORY,
        "class_uid": _CLASS,
        "activity_id": activity,
        "type_uid": _CLASS * 100 + activity,
        "time": _milliseconds(record.at),
        "severity_id": 1 if allowed else 2,  # informational, low
        "status_id": 1 if allowed else 2,  # success, failure
        "status_detail": record.outcome,
        "actor": {
            "user": {"uid": record.actor_id, "type_id": _SYSTEM if record.actor_id == "system" else _USER}
        },
        "api": {"operation": record.action, "service": {"name": "broch"}},
        "src_endpoint": {"svc_name": "broch"},  # the class wants one; the log keeps no addresses of people
        "resources": [
            {name: value for name, value in item.items() if value is not None} for item in resources
        ],
        "metadata": {
            "version": VERSION,
            "product": {"name": "Broch", "vendor_name": "Broch"},
            "uid": record.id,
            "event_code": record.action,
            "log_name": origin,
            "original_time": rfc3339(record.at),
            **({} if record.seq is None else {"sequence": record.seq}),
        },
        "unmapped": {"facts": record.facts, "leaf_hash": record.leaf_hash},
    }


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
