"""Settings for commands that run Broch: what cannot be used is said in words, before anything is touched."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from broch.cli.failure import Failure
from broch_core.settings import Settings

FILE_VARIABLE = "BROCH_CONFIG"


def load_settings(**given: Any) -> Settings:
    """Return the settings in force, with an absolute folder.

    Args:
        given: values from the command line; those that are None were not given.

    Raises:
        Failure: a value or the file that `BROCH_CONFIG` names cannot be used; each is named, secrets are not shown.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    settings_file()
    try:
        settings = Settings(**chosen)
        if not settings.folder.is_absolute():
            # Services run in other folders than the shell that the path was meant for.
            settings = Settings(**{**chosen, "folder": settings.folder.absolute()})
    except ValidationError as error:
        says = "; ".join(_said(item["loc"], item["msg"], chosen) for item in error.errors())
        raise Failure(f"{says}.", "See: broch config --help") from None
    except SettingsError as error:
        raise Failure(f"{error}.", "See: broch config --help") from None
    return settings


def settings_file() -> bytes | None:
    """Return the content of the file that `BROCH_CONFIG` names, if it names one.

    Raises:
        Failure: it names one that cannot be read, or that is no TOML: settings that are not in force without a
            word could be those that make Broch strict.
    """
    named = os.environ.get(FILE_VARIABLE)
    if not named:
        return None
    try:
        content = Path(named).read_bytes()
        tomllib.loads(content.decode())
    except OSError as error:
        raise Failure(
            f"{FILE_VARIABLE} names {named}, which cannot be read: {(error.strerror or 'no file').lower()}."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Failure(f"{FILE_VARIABLE} names {named}, which is not TOML: {error}.") from None
    return content


def _said(where: tuple[int | str, ...], message: str, chosen: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in where)
    return f"--{name}: {message}" if name in chosen else f"BROCH_{name.upper()}: {message}"
