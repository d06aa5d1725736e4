"""One bounded HTTP call over a unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)


class AnswerTooLong(ValueError):
    """The answer is longer than the caller takes."""


AWAY = (aiohttp.ClientError, OSError, TimeoutError)
"""What is raised when nobody answers on the socket."""


async def call(
    socket: Path, method: str, path: str, *, limit: int, headers: dict[str, str] | None = None, **body: Any
) -> tuple[int, bytes]:
    """Return status and body of one call; ten seconds at most, no redirects.

    Args:
        socket: path of the unix socket.
        method: HTTP method.
        path: path and query.
        limit: longest body taken, bytes.
        headers: request headers.
        body: `json=` or `data=`, as aiohttp takes them.

    Raises:
        AnswerTooLong: the body is longer than `limit`.
        AWAY: nobody answers.
    """
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=_TIMEOUT) as session,
        session.request(
            method, f"http://localhost{path}", headers=headers, allow_redirects=False, **body
        ) as answer,
    ):
        text = b""
        async for chunk in answer.content.iter_any():
            text += chunk
            if len(text) > limit:
                raise AnswerTooLong(f"more than {limit} bytes")
        return answer.status, text
