"""The package route: it alone has a way to the internet, and fetches what lists name. No database, no airlock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broch_workspaces.packages.settings import PackagesSettings


def main(settings: PackagesSettings | None = None) -> None:
    """Run the package route until it is told to end (`broch serve packages`).

    Args:
        settings: unset: from the environment.
    """
    # Only the process itself needs all of it: models and lock files are read elsewhere without it.
    from broch_workspaces.packages.process import main as run  # noqa: PLC0415 - see above

    run(settings)
