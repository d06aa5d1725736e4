"""Puts the intake half of the airlock together: drafts, uploads, door, picker, checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from broch_airlock.checking.deadlines import DeadlineSweeper
from broch_airlock.checking.runner import CheckRunner, Scan
from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.door.deliveries import DeliveryDesk
from broch_airlock.door.keeper import DoorKeeper
from broch_airlock.picker import pages as picker_pages
from broch_airlock.picker import routes as picker_routes
from broch_airlock.picker.service import ZonePicker
from broch_airlock.requests import pages as request_pages
from broch_airlock.requests import routes as request_routes
from broch_airlock.requests.service import RequestDesk
from broch_airlock.retention.eraser import Eraser
from broch_airlock.shelves import TIDY, Shelves
from broch_airlock.uploads import routes as upload_routes
from broch_airlock.uploads.intake import FileIntake
from broch_airlock.uploads.service import UploadDesk
from broch_core.blobs import Blobs
from broch_core.outbox.worker import Handler
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.pages import NavItem
from broch_core.web.routing import Router
from broch_workspaces.zones import FolderZones


def make_services(
    store: Store,
    settings: Settings,
    blobs: Blobs,
    zones: FolderZones | None,
    scan: Scan,
    on_taken: Callable[[FileUnderCheck], None] = lambda _file: None,
) -> dict[type, Any]:
    """Make the services by type; `make_door_app` takes its own from the same map.

    Args:
        store: the database.
        settings: limits and deadlines.
        blobs: where bytes lie; unfinished uploads beside them.
        zones: the folders of the zones, where this machine has them; nobody can pick files from them elsewhere.
        scan: checks all files of one request, such as `check_files` with policy and scanner bound.
        on_taken: told of every file that was taken in, such as `ScanAhead.offer`.
    """
    shelves = Shelves(store, blobs)
    intake = FileIntake(store, shelves, settings, on_taken)
    desk = RequestDesk(store, shelves, settings)
    uploads = UploadDesk(store, intake, settings)
    runner = CheckRunner(store, shelves, scan, settings)
    uploads.recover()
    services: dict[type, Any] = {
        Store: store,
        Shelves: shelves,
        FileIntake: intake,
        RequestDesk: desk,
        UploadDesk: uploads,
        DoorKeeper: DoorKeeper(store),
        DeliveryDesk: DeliveryDesk(store, shelves),
        CheckRunner: runner,
        DeadlineSweeper: DeadlineSweeper(store, runner, settings),
    }
    if zones is not None:
        services[ZonePicker] = ZonePicker(store, zones, desk, intake)
    return services


def routers(*, zone_folders: bool = True) -> list[Router]:
    """Return the routes of API and pages.

    Args:
        zone_folders: this machine has the zones' folders, so people may pick files from them.
    """
    found = [
        request_routes.router,
        upload_routes.router,
        picker_routes.router,
        request_pages.router,
        picker_pages.router,
    ]
    picking = (picker_routes.router, picker_pages.router)
    return [router for router in found if zone_folders or router not in picking]


def nav() -> list[NavItem]:
    """Return the entries of the navigation."""
    return [NavItem("Airlock", "/airlock", "a", shown=lambda actor: bool(actor.memberships))]


def outbox_handlers(services: Mapping[type, Any]) -> dict[str, Handler]:
    """Return the handlers of the outbox by kind."""
    runner: CheckRunner = services[CheckRunner]
    return {"airlock.check": runner.check, "airlock.discard": runner.discard, TIDY: runner.tidy}


def periodic(services: Mapping[type, Any]) -> list[Callable[[], int]]:
    """Return what must be called about twice a minute: deadlines, forgotten uploads, bytes whose retention is over."""
    eraser: Eraser = services[Eraser]
    sweeper: DeadlineSweeper = services[DeadlineSweeper]
    uploads: UploadDesk = services[UploadDesk]
    return [sweeper.sweep, uploads.expire, eraser.sweep]
