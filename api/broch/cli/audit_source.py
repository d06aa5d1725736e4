"""The log of a server as something to copy and to hold against what was kept; nothing it says is believed unproved."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

from broch.cli.client import Api
from broch.cli.failure import Failure, Misused
from broch_core.errors import Conflict
from broch_core.proof import ProofError, TrustFile
from broch_core.proof.trust import TRUST_LIMIT


class ApiSource:
    """The log behind the API; a `LogSource`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def newest(self) -> str | None:
        """Return the newest checkpoint."""
        note = self._api.get("audit/checkpoint")["note"]
        return None if note is None else str(note)

    def checkpoint_up_to(self, size: int, after: int) -> str | None:
        """Return a checkpoint to end a segment at."""
        found = self._api.get("audit/checkpoints", below=size + 1, limit=1)["items"]
        return str(found[0]["note"]) if found and found[0]["size"] > after else self.newest()

    def leaves(self, first: int, end: int) -> Iterator[bytes]:
        """Yield leaves as the server sends them."""
        rest = b""
        query = {"format": "leaves", "first": first, "end": end}
        with self._api.stream("audit/export", query=query) as answer:
            for piece in answer.iter_bytes():  # not by lines of text: those end at other characters too
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        if rest:
            raise Conflict("The server broke off in the middle of a record.")

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return a consistency proof."""
        try:
            return [
                base64.b64decode(node, validate=True)
                for node in self._api.get("audit/consistency", old=old, new=new)["hashes"]
            ]
        except (binascii.Error, TypeError, ValueError) as error:
            raise Failure("The server sent something that is no proof.") from error


def read_trust(path: Path | None) -> TrustFile:
    """Read the trust file.

    Raises:
        Misused: none is named, or it cannot be used.
    """
    if path is None:
        raise Misused(
            "Name the keys that you trust: --trust FILE.", "Get it from elsewhere than the log, and keep it."
        )
    try:
        with path.open("rb") as file:
            return TrustFile.parse(file.read(TRUST_LIMIT + 1))
    except (OSError, ProofError) as error:
        raise Misused(f"{path} cannot be used: {error}") from None
