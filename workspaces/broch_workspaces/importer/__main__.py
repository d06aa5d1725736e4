"""`python -I -m broch_workspaces.importer`: one delivery (docs/cluster.md, *An importer's pod*).

Exit codes: 0 done, now or before; 1 not now, a fresh pod may do it; 2 the environment or the delivery makes no sense;
3 the name is taken by other bytes; 4 the volume is full; 5 it cannot do what is needed. Standard error has one line that
says why.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from broch_workspaces.cluster.spec import Delivery
from broch_workspaces.importer.fetch import Door, NotNow
from broch_workspaces.importer.folder import BadName, ImportsFolder, NoLinks, Spoilt, Taken, plain_name

IMPORTS = Path("/imports")


class Exit(IntEnum):
    """How it ended."""

    DONE = 0
    NOT_NOW = 1
    SENSELESS = 2
    TAKEN = 3
    FULL = 4
    UNFIT = 5


class Senseless(Exception):
    """The environment or the delivery makes no sense; the text says what."""


def read_environment(environment: Mapping[str, str]) -> tuple[Delivery, Door]:
    """Return what is to be done, and where the bytes are.

    Raises:
        Senseless: something is missing or wrong.
    """
    try:
        delivery = Delivery.model_validate_json(environment["BROCH_DELIVERY"])
        door = Door(
            environment["BROCH_DOOR_URL"],
            Path(environment["BROCH_DOOR_TOKEN_FILE"]),
            Path(environment["SSL_CERT_FILE"]),
        )
        place = urlsplit(door.url)
        sensible = place.scheme == "https" and place.hostname and place.port != 0 and not place.path
    except KeyError as error:
        raise Senseless(f"{error.args[0]} is not set") from None
    except ValidationError as error:
        raise Senseless(f"BROCH_DELIVERY: {error.errors()[0]['msg']}") from None
    except ValueError:
        sensible = False
    if not sensible:
        raise Senseless("BROCH_DOOR_URL is not like https://HOST:PORT")
    return delivery, door


def carry_out(delivery: Delivery, door: Door, path: Path) -> None:
    """Do it; done already is done.

    Raises:
        BadName: the delivery's name is none.
        Taken: it is taken by other bytes.
        NotNow: the bytes cannot be had.
        Spoilt: other bytes came.
        OSError: the volume is full, or broken.
    """
    name = plain_name(delivery.name)
    with ImportsFolder(path) as folder:
        if delivery.op == "remove":
            folder.remove(name, delivery.sha256)
            return
        there = folder.holds(name, delivery.sha256)
        if there is None:
            folder.place(delivery.id, name, door.pieces(delivery), size=delivery.size, sha256=delivery.sha256)
            return
        folder.tidy(delivery.id)
        if not there:
            raise Taken(name)


def run(environment: Mapping[str, str], path: Path = IMPORTS) -> Exit:
    """Carry out the delivery that the environment names; say on standard error why not."""
    try:
        delivery, door = read_environment(environment)
        carry_out(delivery, door, path)
    except (Senseless, BadName) as error:
        return _said(Exit.SENSELESS, str(error))
    except Taken:
        return _said(Exit.TAKEN, "the name is taken by other bytes")
    except (NotNow, Spoilt) as error:
        return _said(Exit.NOT_NOW, str(error))
    except OSError as error:
        return _said(_of_the_volume(error), f"the volume says: {error.strerror or type(error).__name__}")
    return Exit.DONE


def _of_the_volume(error: OSError) -> Exit:
    if isinstance(error, NoLinks):
        return Exit.UNFIT
    return Exit.FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else Exit.NOT_NOW


def _said(code: Exit, why: str) -> Exit:
    sys.stderr.write(f"importer: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(run(os.environ))
