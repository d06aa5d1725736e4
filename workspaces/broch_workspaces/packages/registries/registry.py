"""What every registry can say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.spec import Package, PackageFile, Resolved, Wanted

DOCUMENT_BYTES = 64 << 20
"""Most bytes of what a registry says of one package."""


class Registry(Protocol):
    """One ecosystem's place outside."""

    async def addresses(self, package: Package, file: PackageFile) -> Sequence[str]:
        """Return where a listed file may be, in the order to try; made from settings, the list and the registry's index.

        Raises:
            NotFound: the registry has no such file.
            RegistryRefused: its answer cannot be taken.
            Unavailable: it does not answer.
        """

    async def resolve(self, wanted: Wanted) -> Resolved:
        """Return what the registry says of one version.

        Raises:
            NotFound: it does not have it.
            RegistryRefused: its answer cannot be taken.
            Unavailable: it does not answer.
        """


def document(data: bytes) -> Mapping[str, Any]:
    """Return a JSON object of a registry.

    Raises:
        RegistryRefused: it is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise RegistryRefused("The registry's answer is not JSON.") from None
    if not isinstance(found, dict):
        raise RegistryRefused("The registry's answer is not a JSON object.")
    return found


def text(value: object, most: int) -> str:
    """Return text in one line, cut; anything else is empty."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in value[: most * 2]).split())[:most]
