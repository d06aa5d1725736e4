"""`broch backup`: a copy of everything, also while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broch.backup import back_up
from broch.cli import output
from broch.cli.configured import load_settings
from broch.cli.failure import Failure
from broch_core.errors import DomainError


def backup(
    target: Annotated[Path, typer.Argument(metavar="TO", help="A folder that does not exist yet.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder of the Broch; by default that of the settings.")
    ] = None,
) -> None:
    """Copy a whole Broch as it is at one moment, running or not, and verify the audit log in the copy.

    Run it as whom Broch runs as, or as root. The copy holds data and private keys. To use it: copy it in place, then
    `broch up --restored`.
    """
    try:
        done = back_up(load_settings(folder=folder), target.absolute())
    except DomainError as error:
        raise Failure(error.detail, error.remedy) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {(error.strerror or str(error)).lower()}.") from None
    output.say(f"Copied {done.files} files, {output.size(done.bytes)}, to {target}. {done.verified.reason}")
