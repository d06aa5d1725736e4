"""Nodes of the audit tree in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, insert, select

from broch_core.audit.tables import AuditNode
from broch_core.proof import NodeId


class DatabaseNodes:
    """Nodes of the tree in the table `audit_node`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of these nodes."""
        by_level: dict[int, list[int]] = {}
        for level, index in ids:
            by_level.setdefault(level, []).append(index)
        found: dict[NodeId, bytes] = {}
        for level, indices in by_level.items():
            for start in range(0, len(indices), 500):
                rows = self._session.exec(
                    select(AuditNode.index, AuditNode.hash).where(
                        AuditNode.level == level, col(AuditNode.index).in_(indices[start : start + 500])
                    )
                )
                found.update({(level, index): node for index, node in rows})
        return found

    def write(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Add nodes that are not there yet."""
        rows = [{"level": level, "index": index, "hash": node} for (level, index), node in nodes.items()]
        self._session.execute(insert(AuditNode), rows)
