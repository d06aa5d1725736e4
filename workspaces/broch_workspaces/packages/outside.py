"""The one way to the internet: known hosts over TLS, addresses checked where the socket is made, redirects by hand."""

from __future__ import annotations

import contextvars
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from yarl import URL

from broch_core.errors import NotFound, Unavailable
from broch_workspaces.packages.addresses import outside
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.settings import PackagesSettings

_log = structlog.get_logger()

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 3
_AGENT = "broch-packages"
_refused: contextvars.ContextVar[list[str]] = contextvars.ContextVar("refused")
"""Addresses that this request was not let to; the library tells no reasons."""


class AddressRefused(OSError):
    """The address is not outside."""


def checked_url(address: str, hosts: Collection[str]) -> URL:
    """Return an address that may be asked.

    Args:
        address: absolute.
        hosts: with ports other than 443, that it may be on.

    Raises:
        RegistryRefused: it is not https, on another host, or has a user in it.
    """
    try:
        url = URL(address, encoded=True)
        host = (url.host or "").lower()
        port = url.port
    except ValueError:
        raise RegistryRefused("The registry named an address that cannot be read.") from None
    place = host if port == 443 else f"{host}:{port}"
    # An index is JSON, which can hold what no address has: a line break would begin another request.
    if any(not "!" <= char <= "~" for char in address):
        raise RegistryRefused("The registry named an address that cannot be read.")
    if url.scheme != "https" or url.user is not None or url.password is not None or place not in hosts:
        raise RegistryRefused(
            "The registry led to another place, which may not be asked. "
            "Your administrator can allow its host in the settings of the package route."
        )
    return url


class Outside:
    """Asks registries. Make it inside the event loop.

    Args:
        settings: which addresses, how long.
        count: told of each request that goes out, and of each address that was refused.
    """

    def __init__(self, settings: PackagesSettings, count: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._count = count
        context = ssl.create_default_context(
            cafile=str(settings.authorities) if settings.authorities is not None else None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        connector = aiohttp.TCPConnector(
            ssl=context,
            limit=0,
            # One connection, one request: each is checked, and none is kept from before an answer changed.
            force_close=True,
            use_dns_cache=False,
            # The system's, as everything else in the pod looks names up.
            resolver=aiohttp.ThreadedResolver(),
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=settings.fetch_seconds,
                sock_connect=settings.connect_seconds,
                sock_read=settings.idle_seconds,
            ),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket of a connection, to the very address that it will have; there is no look-up after this."""
        family, kind, protocol, _, place = info
        address = str(place[0])
        # By a proxy every connection goes to the proxy, wherever that is.
        if self._settings.proxy is None and not outside(address, self._settings.inside):
            self._count("addresses", "refused")
            _refused.get([]).append(address)
            raise AddressRefused(f"{address} is not outside")
        return socket.socket(family=family, type=kind, proto=protocol)

    @asynccontextmanager
    async def get(
        self, address: str, hosts: Collection[str], *, accept: str = "*/*", packed: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for an address for the time of an `async with` block; the answer is a 200.

        Args:
            address: made from settings and lists.
            hosts: that it, and whatever it leads to, may be on.
            accept: wanted media types.
            packed: whether the answer may be packed with gzip on its way.

        Raises:
            NotFound: the registry does not have it.
            RegistryRefused: it leads elsewhere, or answers something else.
            Unavailable: it does not answer.
        """
        refused: list[str] = []
        token = _refused.set(refused)
        try:
            answer = await self._follow(address, hosts, accept, packed=packed)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if refused:
                _log.warning("packages.address_refused", host=URL(address).host, addresses=refused[:5])
                raise RegistryRefused(
                    "The registry's name leads to an address inside, which may not be asked."
                ) from None
            _log.warning("packages.registry_away", host=URL(address).host, reason=type(error).__name__)
            raise Unavailable("The registry cannot be reached right now. Try again in a minute.") from None
        finally:
            _refused.reset(token)
        try:
            yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("packages.registry_cut", host=URL(address).host, reason=type(error).__name__)
            raise Unavailable("The registry broke off in the middle. Try again in a minute.") from None
        finally:
            answer.close()

    async def _follow(
        self, address: str, hosts: Collection[str], accept: str, *, packed: bool
    ) -> aiohttp.ClientResponse:
        url = checked_url(address, hosts)
        for _ in range(MOST_REDIRECTS + 1):
            self._count("upstream", url.host or "")
            answer = await self._session.get(
                url,
                headers={
                    "Accept": accept,
                    "Accept-Encoding": "gzip" if packed else "identity",
                    "User-Agent": _AGENT,
                },
                allow_redirects=False,
                proxy=self._settings.proxy,
            )
            if answer.status == 200:
                return answer
            answer.close()
            if answer.status in {404, 410}:
                raise NotFound("The registry does not have this.")
            if answer.status == 429 or answer.status >= 500:
                raise Unavailable(f"The registry answers {answer.status} right now. Try again in a minute.")
            if answer.status not in _REDIRECTS:
                raise RegistryRefused(f"The registry answers {answer.status}.")
            try:
                joined = url.join(URL(answer.headers.get("Location", ""), encoded=True))
            except ValueError:
                raise RegistryRefused("The registry named an address that cannot be read.") from None
            url = checked_url(str(joined), hosts)
        raise RegistryRefused("The registry sends from one address to the next without an end.")


async def read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the whole body.

    Raises:
        RegistryRefused: it is larger than `most` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async for data in answer.content.iter_any():
        size += len(data)
        if size > most:
            raise RegistryRefused(f"The registry's answer is larger than {most:,} bytes.")
        parts.append(data)
    return b"".join(parts)
