"""The zone gateway: the one address that a zone reaches. It holds no data, and passes on what is on its list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broch_workspaces.gateway.settings import GatewaySettings


def main(settings: GatewaySettings | None = None) -> None:
    """Run the gateway until it is told to end (`broch serve gateway`).

    Args:
        settings: unset: from the environment.
    """
    # Only the process itself needs the Kubernetes client: its lists and models are read elsewhere without it.
    from broch_workspaces.gateway.process import main as run  # noqa: PLC0415 - see above

    run(settings)
