"""`broch serve`: one service of `broch up`. Started by the supervisor, not by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="One service of `broch up`; the supervisor starts these.", no_args_is_help=True)


@app.command()
def web() -> None:
    """Control plane, airlock and their door; owner of database, blobs and keys."""
    from broch.web import serve  # noqa: PLC0415 - each service loads only its own world

    serve()


@app.command()
def hub(settings: Annotated[Path, typer.Argument(help="The JSON file that the supervisor wrote.")]) -> None:
    """JupyterHub with its proxy and the sandboxes of workspaces."""
    from broch_spawner.serve import main  # noqa: PLC0415 - each service loads only its own world

    main(settings)
