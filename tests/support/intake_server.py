"""A real server of the intake for tests that kill it: `python -m support.intake_server FOLDER PORT`."""

import sys
from pathlib import Path

import uvicorn

from broch_airlock import assembly_intake
from broch_core.audit.denials import DenialLog
from broch_core.blobs import FolderBlobs
from broch_core.settings import Settings
from broch_core.store.engine import make_engine
from broch_core.store.unit import Store
from broch_core.web.app import make_app
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.sessions import Sessions
from broch_workspaces.zones import FolderZones


def main(folder: Path, port: int) -> None:
    """Serve what `make_world` left in the folder."""
    settings = Settings(folder=folder, demo=True)
    store = Store(make_engine(settings.store_url()))
    services = assembly_intake.make_services(
        store,
        settings,
        FolderBlobs(folder / "blobs"),
        FolderZones(folder / "zones"),
        lambda files: [[] for _ in files],
    )
    sessions = Sessions(store, b"test secret of thirty-two bytes..", settings.session_lifetime)
    origin = f"http://127.0.0.1:{port}"
    app = make_app(
        "Airlock",
        "Test.",
        assembly_intake.routers(),
        services={**services, Sessions: sessions, DenialLog: DenialLog(store)},
        shell_origin=origin,
        docs_prefix="/api/v1/airlock",
    )
    shell = ShellHeaders(app, hosts=[f"127.0.0.1:{port}"], policy=shell_policy(origin, origin))
    uvicorn.run(shell, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
