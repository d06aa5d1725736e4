"""Released bytes on their way into a zone's `/imports`, for the importer of that zone alone."""

from __future__ import annotations

from sqlmodel import select

from broch_airlock.release.downloads import Download
from broch_airlock.release.given_up import given_up
from broch_airlock.shelves import Shelves
from broch_core.blobs import BlobClass
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import ProjectStatus
from broch_core.scope import EVERYTHING, find_project
from broch_core.store.unit import Store
from broch_core.tables.zones import DeliveryOp, ZoneDelivery
from broch_workspaces.cluster.spec import namespace_of


class DeliveryDesk:
    """Hands out what is on its way."""

    def __init__(self, store: Store, shelves: Shelves) -> None:
        self._store = store
        self._shelves = shelves

    def open(self, namespace: str, delivery_id: str) -> Download:
        """Open the bytes of a delivery.

        Args:
            namespace: of the zone that asks.
            delivery_id: which.

        Raises:
            NotFound: there is no such delivery for this zone, or it is over.
            Conflict: the project is frozen.
        """
        with self._store.read() as session:
            row = session.get(ZoneDelivery, delivery_id)
            if (
                row is None
                or namespace_of(row.project_id) != namespace
                or row.op is not DeliveryOp.PLACE
                or row.done_at is not None
                or row.failure is not None
                or session.exec(select(ZoneDelivery.id).where(ZoneDelivery.id == row.id, given_up())).first()
            ):
                raise NotFound
            if find_project(session, EVERYTHING, row.project_id).status is ProjectStatus.FROZEN:
                raise Conflict("The project is frozen: nothing crosses its border.")
        file = self._shelves.blobs.open(row.project_id, BlobClass.RELEASED, row.sha256)
        return Download(row.name, row.size, row.sha256, file)
