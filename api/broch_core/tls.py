"""TLS between the components of a cluster: one folder with `tls.crt`, `tls.key` and `ca.crt` (a Kubernetes Secret).

Inside, both sides show a certificate of the same authority. Towards browsers and zones only the server does.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


def server_context(folder: Path, *, clients: bool) -> ssl.SSLContext:
    """Return the context of a listener.

    Args:
        folder: of the component's certificate.
        clients: whether who calls must show a certificate of our authority.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    return context


def client_context(folder: Path, *, present: bool = True) -> ssl.SSLContext:
    """Return the context of a caller: our authority alone is believed.

    Args:
        folder: of the component's certificate.
        present: show our own certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(folder / "ca.crt")
    if present:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


class Renewed:
    """A context that follows its files: certificates are renewed while a service runs.

    Args:
        folder: of the component's certificate.
        make: makes the context of a folder, such as `client_context`.
    """

    def __init__(self, folder: Path, make: Callable[[Path], ssl.SSLContext]) -> None:
        self._folder = folder
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[object, ssl.SSLContext] | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return the context in force.

        Raises:
            OSError: there is none, and never was one.
        """
        with self._lock:
            try:
                seen = tuple((file.st_ino, file.st_mtime_ns) for file in map(Path.stat, self._files()))
                if self._made is None or self._made[0] != seen:
                    self._made = (seen, self._make(self._folder))
            except OSError:
                # In the middle of a change certificate and key may not fit: what was good is good for this call.
                if self._made is None:
                    raise
            return self._made[1]

    def _files(self) -> tuple[Path, ...]:
        return tuple(self._folder / name for name in ("tls.crt", "tls.key", "ca.crt"))


_RENEW_SECONDS = 60.0


async def keep_renewed(context: ssl.SSLContext, folder: Path, *, every: float = _RENEW_SECONDS) -> None:
    """Have a context take up a renewed certificate and a further authority, without end; new connections then go by them.

    An authority that was believed before is believed until the process ends.

    Args:
        context: of `server_context` or `client_context`.
        folder: of the component's certificate.
        every: seconds between two looks.
    """
    certificate, authority = folder / "tls.crt", folder / "ca.crt"
    # A listener for browsers and zones asks nobody for a certificate.
    believes = context.verify_mode is not ssl.CERT_NONE

    def look() -> list[int]:
        return [file.stat().st_mtime_ns for file in (certificate, *([authority] if believes else []))]

    seen = look()
    while True:
        await asyncio.sleep(every)
        try:
            found = look()
            if found != seen:
                context.load_cert_chain(certificate, folder / "tls.key")
                if believes:
                    context.load_verify_locations(authority)
                seen = found
                _log.info("tls.certificate_renewed")
        except OSError as error:
            # In the middle of a change certificate and key may not fit: what was good is good until the next look.
            _log.warning("tls.certificate_unreadable", reason=type(error).__name__)
