"""`broch serve`: one service of `broch up`, or of the Helm chart. Not started by people."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from broch.cli.failure import Failure

app = typer.Typer(help="One service of `broch up`, or of the chart.", no_args_is_help=True)


@contextmanager
def _loading() -> Iterator[None]:
    """Load a service's world without looking for garbage in it, now and ever after: a fifth of its start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@app.command()
def web() -> None:
    """Control plane, airlock and their door; owner of database, blobs and keys."""
    with _loading():
        from broch.web import serve  # noqa: PLC0415 - each service loads only its own world
        from broch_core.errors import DomainError  # noqa: PLC0415 - the same

    try:
        serve()
    except DomainError as error:  # what it refuses to start on, in words
        raise Failure(error.detail, error.remedy) from error


@app.command()
def hub(
    settings: Annotated[Path, typer.Argument(help="The JSON file that the supervisor or the chart wrote.")],
) -> None:
    """JupyterHub with its proxy and the sandboxes of workspaces."""
    with _loading():
        from broch_spawner.serve import main  # noqa: PLC0415 - each service loads only its own world

    main(settings)


@app.command()
def controller(
    settings: Annotated[Path, typer.Argument(help="The JSON file that the chart wrote.")],
) -> None:
    """On a cluster: make zones as the control plane says."""
    with _loading():
        from broch_workspaces.cluster.controller import main  # noqa: PLC0415 - each service loads only its own world
        from broch_workspaces.cluster.controller.settings import read_settings  # noqa: PLC0415 - the same

    main(read_settings(settings))


@app.command()
def gateway() -> None:
    """On a cluster: the one address that zones reach."""
    from broch_workspaces.gateway import main  # noqa: PLC0415 - each service loads only its own world

    main()


@app.command()
def packages() -> None:
    """On a cluster: the package route, the one service with a way to the internet."""
    from broch_workspaces.packages import main  # noqa: PLC0415 - each service loads only its own world

    main()


@app.command()
def sandboxes() -> None:
    """On a cluster: throw-away pods for checks and rendering."""
    from broch_workspaces.sandboxes import main  # noqa: PLC0415 - each service loads only its own world

    main()


@app.command()
def clamd_relay() -> None:
    """On a cluster: TLS before the scanner's socket."""
    from broch_airlock.checks.clamd_relay import main  # noqa: PLC0415 - each service loads only its own world

    main()
