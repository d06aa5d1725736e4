"""What zones on a cluster ask of the door: deliveries in every state, and the zone gateway that asks for them."""

from __future__ import annotations

from sqlmodel import select

from broch_airlock.tables import AirlockFile
from broch_core.clock import utc_now
from broch_core.store.unit import Store
from broch_core.tables.zones import DeliveryOp, ZoneDelivery
from broch_workspaces.cluster.spec import namespace_of
from support.surface import GATEWAY_TOKEN, Surface


def add_deliveries(surface: Surface) -> None:
    """Enter the bytes of a released request as deliveries, one in each state."""
    released = surface.things["request"]["released"]
    store, found = surface.service(Store), surface.things.setdefault("delivery", {})
    with store.read() as session:
        file = session.exec(select(AirlockFile).where(AirlockFile.id == released["file_id"])).one()
    namespace = namespace_of(released["project_id"])
    states: dict[str, dict[str, object]] = {
        "under way": {},
        "done": {"done_at": utc_now()},
        "failed": {"failure": "The name is taken."},
        "removal": {"op": DeliveryOp.REMOVE},
    }
    for state, values in states.items():
        whole = {"op": DeliveryOp.PLACE, "name": f"{state}.csv", "sha256": file.sha256, "size": file.size}
        row = ZoneDelivery(project_id=released["project_id"], **{**whole, **values})
        with store.write(housekeeping=True) as change:
            change.session.add(row)
        found[state] = {"delivery_id": row.id, "namespace": namespace}


def of_importer(namespace: str) -> list[tuple[str, str | bytes]]:
    """Return what the zone gateway shows at the door for an importer of a zone."""
    return [
        ("authorization", f"Bearer {GATEWAY_TOKEN}"),
        ("broch-pod", f"{namespace}/import-1"),
        ("broch-account", "importer"),
    ]
