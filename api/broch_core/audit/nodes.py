"""Nodes of the audit tree in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, tuple_
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, insert

from broch_core.audit.tables import AuditNode
from broch_core.proof import NodeId

_READ = sql_select(col(AuditNode.level), col(AuditNode.index), col(AuditNode.hash)).where(
    tuple_(col(AuditNode.level), col(AuditNode.index)).in_(bindparam("wanted", expanding=True))
)


class DatabaseNodes:
    """Nodes of the tree in the table `audit_node`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of these nodes."""
        found: dict[NodeId, bytes] = {}
        for start in range(0, len(ids), 500):
            rows = self._session.execute(_READ, {"wanted": ids[start : start + 500]})
            found.update({(level, index): node for level, index, node in rows})
        return found

    def write(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Add nodes that are not there yet."""
        rows = [{"level": level, "index": index, "hash": node} for (level, index), node in nodes.items()]
        self._session.execute(insert(AuditNode), rows)
