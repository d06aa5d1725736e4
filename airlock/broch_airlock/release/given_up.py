"""Imports whose release has failed: nobody places them any more, and what arrived all the same is taken out again."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from sqlalchemy import ColumnElement, and_, exists, not_
from sqlmodel import Session, col, select

from broch_airlock.tables import AirlockFile, AirlockRequest, Direction
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus
from broch_core.store.unit import Store
from broch_core.tables.zones import DeliveryOp, Zone, ZoneDelivery

GIVEN_UP = "Its release has failed."

log = structlog.get_logger()


def given_up() -> ColumnElement[bool]:
    """Return the condition under which a delivery would place what no release wants placed any more."""
    return and_(
        col(ZoneDelivery.op) == DeliveryOp.PLACE,
        col(ZoneDelivery.done_at).is_(None),
        col(ZoneDelivery.failure).is_(None),
        _of_a_request(AirlockStatus.FAILED),
        not_(_of_a_request(AirlockStatus.RELEASING, AirlockStatus.RELEASED)),
    )


def give_up(store: Store) -> None:
    """End the deliveries of releases that have failed.

    Looked for, and not done where a release fails: one may be entered at that very moment. An importer may be at work too,
    so each is followed by its removal. A release that is tried again waits for that, and places it anew.
    """
    with store.read() as session:
        if session.exec(select(ZoneDelivery.id).where(given_up()).limit(1)).first() is None:
            return
    # Housekeeping: the record of the failure is what this follows from.
    with store.write(housekeeping=True) as change:
        for row in change.session.exec(select(ZoneDelivery).where(given_up())).all():
            row.failure, row.done_at = GIVEN_UP, utc_now()
            change.session.add(row)
            change.session.add(
                ZoneDelivery(
                    project_id=row.project_id, op=DeliveryOp.REMOVE, name=row.name, sha256=row.sha256
                )
            )
            log.warning("delivery.given_up", project=row.project_id, delivery=row.id)


def why_not(session: Session, request: AirlockRequest, files: Iterable[AirlockFile]) -> str:
    """Return what was told of an import's way into the zone, as sentences; nothing when all went well or leads outside."""
    if request.direction is not Direction.INGRESS:
        return ""
    for file in files:
        last = session.exec(
            select(ZoneDelivery)
            .where(
                ZoneDelivery.project_id == request.project_id,
                ZoneDelivery.name == file.name,
                ZoneDelivery.op == DeliveryOp.PLACE,
            )
            .order_by(col(ZoneDelivery.created_at).desc(), col(ZoneDelivery.id).desc())
            .limit(1)
        ).first()
        if last is not None and last.failure not in {None, GIVEN_UP}:
            return str(last.failure)
    zone = session.get(Zone, request.project_id)
    return zone.message if zone is not None else ""


def _of_a_request(*statuses: AirlockStatus) -> ColumnElement[bool]:
    return exists(
        select(AirlockFile.id)
        .join(AirlockRequest, col(AirlockRequest.id) == col(AirlockFile.request_id))
        .where(
            col(AirlockRequest.project_id) == col(ZoneDelivery.project_id),
            AirlockRequest.direction == Direction.INGRESS,
            col(AirlockRequest.status).in_(statuses),
            col(AirlockFile.name) == col(ZoneDelivery.name),
            col(AirlockFile.sha256) == col(ZoneDelivery.sha256),
        )
    )
