"""For how long bytes are kept, by the class they lie in (design, rule 4). Pure but for one look at the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, select

from broch_airlock.tables import AirlockBytes, AirlockFile, AirlockRequest, Upload
from broch_core.blobs import BlobClass
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.settings import Settings

RESTING: Mapping[Status, BlobClass] = {
    Status.DRAFT: BlobClass.DRAFT,
    Status.RETURNED: BlobClass.HELD,
    Status.FAILED: BlobClass.HELD,
    Status.QUARANTINED: BlobClass.QUARANTINED,
    Status.RELEASED: BlobClass.RELEASED,
    Status.RECALLED: BlobClass.RELEASED,
}
"""States in which nothing moves by itself, and as what the bytes of a request are kept then. In all other states a
request is under way, or its bytes went when it ended."""
WITHDRAWN_FIRST = frozenset({Status.DRAFT, Status.RETURNED})
"""States that a person could go on from: the request is withdrawn before its bytes are deleted."""


@dataclass(frozen=True)
class Term:
    """From when and for how long the bytes of one request are kept."""

    blob_class: BlobClass
    since: datetime
    kept: timedelta

    @property
    def ends_at(self) -> datetime:
        """When they are deleted."""
        return self.since + self.kept


def retention(settings: Settings) -> Mapping[BlobClass, timedelta]:
    """Return for how long each class is kept."""
    return {
        BlobClass.DRAFT: settings.retention_draft,
        BlobClass.QUARANTINED: settings.retention_quarantined,
        BlobClass.HELD: settings.retention_held,
        BlobClass.RELEASED: settings.retention_released,
    }


def term_of(session: Session, request: AirlockRequest, settings: Settings) -> Term | None:
    """Return the term of a request's bytes; None while it is under way or has none."""
    class_ = RESTING.get(request.status)
    if class_ is None:
        return None
    since = request.moved_at
    if request.status in WITHDRAWN_FIRST:
        since = max([since, *_touched(session, request.id)])
    return Term(class_, since, retention(settings)[class_])


def _touched(session: Session, request_id: str) -> list[datetime]:
    """Return when files last came into a request."""
    came = session.exec(
        select(func.max(AirlockBytes.added_at))
        .join(AirlockFile, AirlockFile.id == AirlockBytes.file_id)  # type: ignore[arg-type]
        .where(AirlockFile.request_id == request_id)
    ).one()
    begun = session.exec(select(func.max(Upload.created_at)).where(Upload.request_id == request_id)).one()
    return [at for at in (came, begun) if at is not None]
