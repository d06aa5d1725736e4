"""Throw-away pods for checks and rendering on a cluster: the broker that makes them, its callers, and what runs inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broch_workspaces.sandboxes.settings import BrokerSettings


def main(settings: BrokerSettings | None = None) -> None:
    """Run the broker until it is told to end (`broch serve sandboxes`)."""
    # Not at the top: what runs inside a sandbox imports this package, and shall start at once.
    from broch_workspaces.sandboxes.serve import run  # noqa: PLC0415
    from broch_workspaces.sandboxes.settings import BrokerSettings  # noqa: PLC0415

    run(settings or BrokerSettings())
