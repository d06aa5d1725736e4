"""Asks the package route what a registry says of one version; the control plane itself reaches nothing outside."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
from pydantic import ValidationError

from broch_core.errors import DomainError, Invalid, TooMany, Unavailable
from broch_core.tls import Renewed, client_context
from broch_workspaces.packages.spec import Resolved, Wanted

NO_ROUTE = "This installation has no package route: no registry can be asked, and nothing can be fetched."
_TIMEOUT = httpx.Timeout(40.0, connect=3.0)
"""Seconds. A registry may take its time for a package with many files."""
_LONGEST_ANSWER = 4 << 20
"""Bytes. 500 files with their digests have 200 KB."""
_LONGEST_REASON = 300
_OF_A_PERSON, _OF_ALL = 2, 8
"""Questions at once. Each holds one of the threads, 40, that answer everything that people and services ask of web."""


class NotAtRegistry(Invalid):
    """The registry does not have this version, or nothing that may be allowed is said of it."""


class RegistryTrouble(Unavailable):
    """The route is there, but nothing comes of this package: the registry does not answer, or not so that it can be used."""


class PackageRegistry:
    """The package route's answers. Safe to use from several threads.

    Args:
        origin: `https://<release>-packages:<port>`; unset where there is no package route.
        tls: folder of our certificate and of the authority that is believed.
        transport: another way there, instead of TLS.
    """

    def __init__(
        self, origin: str | None, tls: Path | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.there = origin is not None
        """Whether this installation has a package route."""
        self._origin = (origin or "").rstrip("/")
        self._context = Renewed(tls, client_context) if tls is not None else None
        self._transport = transport
        self._asking: Counter[str] = Counter()
        self._lock = threading.Lock()

    @classmethod
    def none(cls) -> Self:
        """Return the one of an installation without a package route."""
        return cls(None)

    def resolve(self, wanted: Wanted) -> Resolved:
        """Return what the registry says of one version.

        Raises:
            Unavailable: there is no package route, or it does not answer.
            RegistryTrouble: nothing comes of this package.
            NotAtRegistry: the registry does not have it.
        """
        if not self.there:
            raise Unavailable(NO_ROUTE, remedy="Give a lock file with digests: it waits until there is one.")
        answer = self._ask(wanted)
        if answer.status_code == httpx.codes.OK:
            return _read(answer, wanted)
        raise _refusal(answer, wanted)

    def resolve_for(self, person_id: str, wanted: Wanted) -> Resolved:
        """Return what the registry says of one version to a person who waits for it.

        Raises:
            TooMany: the person, or all together, ask too much at once.
            Unavailable: there is no package route, or it does not answer.
            RegistryTrouble: nothing comes of this package.
            NotAtRegistry: the registry does not have it.
        """
        with self._turn(person_id):
            return self.resolve(wanted)

    @contextmanager
    def _turn(self, person_id: str) -> Iterator[None]:
        with self._lock:
            if self._asking[person_id] >= _OF_A_PERSON or self._asking.total() >= _OF_ALL:
                raise TooMany("Registries are being asked about other packages. Try again in a minute.")
            self._asking[person_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking[person_id] -= 1
                self._asking += Counter()  # who asks nothing any more is forgotten

    def _ask(self, wanted: Wanted) -> httpx.Response:
        try:
            # A client for each question: certificates are renewed while we run. Not from the environment: a proxy
            # that is set there has no business between services.
            with httpx.Client(
                transport=self._transport, verify=self._verify(), trust_env=False, timeout=_TIMEOUT
            ) as client:
                with client.stream(
                    "POST", f"{self._origin}/v1/resolve", json=wanted.model_dump(mode="json")
                ) as answer:
                    body = bytearray()
                    for piece in answer.iter_bytes():
                        body += piece
                        if len(body) > _LONGEST_ANSWER:
                            raise RegistryTrouble("The package route says more than any package has.")
                return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body))
        except httpx.ReadTimeout as error:
            raise RegistryTrouble(
                f"The registry of {_shown(wanted)} takes too long to answer. Try again later."
            ) from error
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable("The package route does not answer. Try again in a minute.") from error

    def _verify(self) -> ssl.SSLContext | bool:
        return True if self._context is None else self._context()


def _read(answer: httpx.Response, wanted: Wanted) -> Resolved:
    """Return the answer, if it is about what was asked.

    Raises:
        RegistryTrouble: it makes no sense.
    """
    try:
        found = Resolved.model_validate_json(answer.content)
    except ValidationError as error:
        raise RegistryTrouble("The package route answers what is no package.") from error
    package = found.package
    if (package.ecosystem, package.name, package.version, package.channel) != (
        wanted.ecosystem,
        wanted.name,
        wanted.version,
        wanted.channel,
    ):
        raise RegistryTrouble(
            "The package route answers for another package than the one that was asked for."
        )
    return found


def _shown(wanted: Wanted) -> str:
    return f"{wanted.name} {wanted.version}"


def _refusal(answer: httpx.Response, wanted: Wanted) -> DomainError:
    shown = _shown(wanted)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return NotAtRegistry(f"The registry does not have {shown}.", field="version")
    if answer.is_client_error and answer.status_code not in {401, 403, 429}:
        return NotAtRegistry(_detail(answer) or f"{shown} cannot be allowed.", field="version")
    return RegistryTrouble(_detail(answer) or f"The registry of {shown} does not answer. Try again later.")


def _detail(answer: httpx.Response) -> str:
    """Return the sentence of a problem (RFC 9457), made fit for one line."""
    try:
        said = answer.json()
    except ValueError:
        return ""
    text = said.get("detail") if isinstance(said, dict) else None
    if not isinstance(text, str):
        return ""
    return "".join(one if one.isprintable() else " " for one in text)[:_LONGEST_REASON]
