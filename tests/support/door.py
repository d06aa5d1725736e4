"""The real airlock door of a world behind mTLS, as the web component of a cluster serves it."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from broch_airlock.door.app import make_door_app
from broch_airlock.door.deliveries import DeliveryDesk
from broch_airlock.door.keeper import DoorKeeper
from broch_airlock.requests.service import RequestDesk
from broch_airlock.uploads.intake import FileIntake
from broch_core.clock import utc_now
from broch_core.lifecycles import WorkspaceStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.workspaces import Workspace
from broch_core.web.sessions import token_hash
from broch_workspaces.cluster.spec import namespace_of
from support.gateway import TOKEN
from support.reviews import ReviewWorld


def door_app(place: ReviewWorld) -> Any:
    """Make the door's app, opened to the gateway alone."""
    store, settings = place.store, place.world.settings
    services = {
        Store: store,
        Settings: settings,
        RequestDesk: RequestDesk(store, place.shelves, settings),
        FileIntake: FileIntake(store, place.shelves, settings),
        DoorKeeper: DoorKeeper(store),
        DeliveryDesk: DeliveryDesk(store, place.shelves),
    }
    return make_door_app(services, TOKEN)


def start_workspace(place: ReviewWorld, pod: str, handle: str = "ruth") -> str:
    """Start a workspace in the database as a pod; return its namespace."""
    project_id = place.world.project.id
    namespace = namespace_of(project_id)
    place.world.add(
        Workspace(
            project_id=project_id,
            person_id=place.world.people[handle].id,
            status=WorkspaceStatus.RUNNING,
            deadline_at=utc_now() + place.world.settings.workspace_lifetime,
            door_token_hash=token_hash(f"{namespace}/{pod}"),
        )
    )
    return namespace


@contextmanager
def serving(app: Any, tls: Path) -> Iterator[str]:
    """Serve an app on loopback to who shows a certificate; give its address."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="warning",
        lifespan="off",
        ssl_certfile=str(tls / "tls.crt"),
        ssl_keyfile=str(tls / "tls.key"),
        ssl_ca_certs=str(tls / "ca.crt"),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the door does not start"
        time.sleep(0.02)
    try:
        yield f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
