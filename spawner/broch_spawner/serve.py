"""The hub process: JupyterHub with its proxy, in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyterhub.app import JupyterHub

from broch_spawner import hub_config
from broch_spawner.settings import HubSettings
from broch_workspaces.sandbox.probe import probe


def main(run_settings: Path) -> None:
    """Serve hub and workspaces until SIGTERM; every sandbox ends with this process.

    Args:
        run_settings: JSON file that `HubSettings` describes.

    Raises:
        SandboxUnavailable: no sandbox can be made here, so there is nothing to serve.
    """
    settings = HubSettings.load(run_settings)
    probe()
    os.umask(0o077)
    hub_dir = settings.state_dir / "hub"
    hub_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(hub_dir)
    # JupyterHub unlinks nothing: a socket left by a process that was killed would keep this one from listening.
    (settings.run_dir / "hub" / "hub.sock").unlink(missing_ok=True)
    os.environ[hub_config.SETTINGS_VARIABLE] = str(run_settings)
    JupyterHub.launch_instance(argv=["--config", str(Path(hub_config.__file__))])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
