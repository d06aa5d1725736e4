"""Nodes of the audit tree in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, insert

from broch_core.audit.tables import AuditNode
from broch_core.proof import NodeId

_AT_ONCE = 200
"""Nodes of one statement; a proof needs fewer than 64."""


class DatabaseNodes:
    """Nodes of the tree in the table `audit_node`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of these nodes."""
        found: dict[NodeId, bytes] = {}
        connection = self._session.connection()
        for start in range(0, len(ids), _AT_ONCE):
            # Written out: both databases answer this from the index; SQLite scans the table for a list of pairs.
            wanted = " OR ".join(
                f'(level = {level:d} AND "index" = {index:d})'
                for level, index in ids[start : start + _AT_ONCE]
            )
            rows = connection.exec_driver_sql(f'SELECT level, "index", hash FROM audit_node WHERE {wanted}')  # noqa: S608 - numbers
            found.update({(level, index): bytes(node) for level, index, node in rows})
        return found

    def write(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Add nodes that are not there yet."""
        rows = [{"level": level, "index": index, "hash": node} for (level, index), node in nodes.items()]
        self._session.execute(insert(AuditNode), rows)
