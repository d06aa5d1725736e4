"""Where a service of ours listens, and one bounded HTTP call to it: a unix socket, or mutual TLS on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from broch_core.tls import client_context

_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)


class AnswerTooLong(ValueError):
    """The answer is longer than the caller takes."""


AWAY = (aiohttp.ClientError, OSError, TimeoutError)
"""What is raised when nobody answers."""


@dataclass(frozen=True)
class Endpoint:
    """One service; made by `at_socket` or `over_tls`."""

    origin: str
    """Scheme and host of every call."""
    socket: Path | None = None
    tls: Path | None = None
    """Folder of our own certificate and of the authority that is believed."""

    @classmethod
    def at_socket(cls, socket: Path) -> Endpoint:
        """Return the service on a unix socket."""
        return cls("http://localhost", socket=socket)

    @classmethod
    def over_tls(cls, origin: str, tls: Path) -> Endpoint:
        """Return the service at an address on the cluster's network; both sides show certificates.

        Raises:
            ValueError: the address is not `https`.
        """
        if not origin.startswith("https://"):
            raise ValueError("services of a cluster speak TLS only")
        return cls(origin.rstrip("/"), tls=tls)

    def connector(self) -> aiohttp.BaseConnector:
        """Return a fresh connector; certificates are read anew, since they are renewed while we run."""
        if self.socket is not None:
            return aiohttp.UnixConnector(str(self.socket))
        if self.tls is None:
            raise ValueError("an endpoint is a socket or has certificates")
        return aiohttp.TCPConnector(ssl=client_context(self.tls))

    async def call(
        self, method: str, path: str, *, limit: int, headers: dict[str, str] | None = None, **body: Any
    ) -> tuple[int, bytes]:
        """Return status and body of one call; ten seconds at most, no redirects.

        Args:
            method: HTTP method.
            path: path and query.
            limit: longest body taken, bytes.
            headers: request headers.
            body: `json=` or `data=`, as aiohttp takes them.

        Raises:
            AnswerTooLong: the body is longer than `limit`.
            AWAY: nobody answers, or not with a certificate of ours.
        """
        async with (
            aiohttp.ClientSession(connector=self.connector(), timeout=_TIMEOUT) as session,
            session.request(
                method, f"{self.origin}{path}", headers=headers, allow_redirects=False, **body
            ) as answer,
        ):
            text = b""
            async for chunk in answer.content.iter_any():
                text += chunk
                if len(text) > limit:
                    raise AnswerTooLong(f"more than {limit} bytes")
            return answer.status, text
