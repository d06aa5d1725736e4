"""The hub process: JupyterHub with its proxy, and on a cluster the listener of its API, in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyterhub.app import JupyterHub

from broch_spawner import hub_config
from broch_spawner.hub_gate import HubFront
from broch_spawner.settings import ClusterHubSettings, load_settings
from broch_workspaces.sandbox.probe import probe


class ClusterHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub behind the listener that control plane and gateway reach."""

    name = "jupyterhub"
    settings_in_force: ClusterHubSettings
    _front: HubFront | None = None

    async def start(self) -> None:
        """Start JupyterHub, then listen: whoever is answered finds every workspace that still runs."""
        await super().start()
        told = self.settings_in_force
        self._front = HubFront(
            told.hub_socket,
            port=told.api_port,
            tls=told.tls,
            web_name=told.web_name,
            gateway_name=told.gateway_name,
        )
        await self._front.start()

    async def cleanup(self) -> None:
        """Stop listening first."""
        if self._front is not None:
            await self._front.stop()
        await super().cleanup()


def main(run_settings: Path) -> None:
    """Serve hub and workspaces until SIGTERM. On one machine every sandbox ends with this process; pods go on.

    Args:
        run_settings: JSON file that `HubSettings` or `ClusterHubSettings` describes.

    Raises:
        SandboxUnavailable: no sandbox can be made here, so there is nothing to serve.
    """
    settings = load_settings(run_settings)
    os.umask(0o077)
    app = JupyterHub
    if isinstance(settings, ClusterHubSettings):
        app = ClusterHub
        ClusterHub.settings_in_force = settings
    else:
        probe()
    settings.hub_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(settings.hub_dir)
    # JupyterHub unlinks nothing: a socket left by a process that was killed would keep this one from listening.
    settings.hub_socket.unlink(missing_ok=True)
    os.environ[hub_config.SETTINGS_VARIABLE] = str(run_settings)
    app.launch_instance(argv=["--config", str(Path(hub_config.__file__))])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
