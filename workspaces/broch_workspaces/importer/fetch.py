"""Fetches the bytes of a delivery from the airlock door, through the zone gateway."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from broch_workspaces.cluster.spec import Delivery

_CHUNK = 1 << 20
_SECONDS = 120.0
"""How long the gateway may say nothing."""


class NotNow(Exception):
    """The bytes cannot be had right now; the text says why."""


@dataclass(frozen=True)
class Door:
    """Where the door is, and what to show there."""

    url: str
    """`https://HOST:PORT` of the gateway."""
    token_file: Path
    """The projected token; the kubelet renews it."""
    ca_file: Path
    """The authority of the gateway's certificate; no other is believed."""

    def pieces(self, delivery: Delivery) -> Iterator[bytes]:
        """Give the bytes of a delivery as they come.

        Raises:
            NotNow: the gateway or the door says no, or breaks off.
        """
        try:
            yield from self._pieces(delivery)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotNow(f"the gateway cannot be reached: {type(error).__name__}") from error

    def _pieces(self, delivery: Delivery) -> Iterator[bytes]:
        place = urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(
            place.hostname or "", place.port or 443, timeout=_SECONDS, context=context
        )
        token = self.token_file.read_text(encoding="ascii").strip()
        try:
            connection.request(
                "GET", f"/door/v1/deliveries/{delivery.id}", headers={"Authorization": f"Bearer {token}"}
            )
            answer = connection.getresponse()
            if answer.status != 200:
                raise NotNow(f"the door says {answer.status}: {_reason(answer.read(64 << 10))}")
            said = (answer.getheader("Content-Length"), answer.getheader("Broch-Sha256"))
            if said != (str(delivery.size), delivery.sha256):
                raise NotNow("the door has other bytes for this delivery")
            while piece := answer.read(_CHUNK):
                yield piece
        finally:
            connection.close()


def _reason(body: bytes) -> str:
    """Return what problem details say (RFC 9457), as one plain line."""
    try:
        said = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "no reason"
    return "".join(char if char.isprintable() else "?" for char in said[:200])
