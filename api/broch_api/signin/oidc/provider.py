"""The provider as we reach it: what it says of itself, its keys, and what it gives for a code. All of it bounded."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.jwk import KeySet
from pydantic import BaseModel, Field, ValidationError

from broch_api.signin.oidc.errors import ProviderAway, ProviderRefused, TokenRefused
from broch_api.signin.oidc.settings import OidcSettings
from broch_api.signin.oidc.tokens import Expected, key_id, usable_keys

log = structlog.get_logger()

FRESH_SECONDS = 600.0
"""How long what the provider said of itself and its keys is not asked again. Ten minutes: a key that was withdrawn."""
STALE_SECONDS = 3600.0
"""How long it still serves when the provider does not answer. An hour: sign-ins outlive a short failure of one page."""
RETRY_SECONDS = 5.0
"""Pause after a failed or forced look: neither a provider that is away nor forged key ids make us its load."""
SCOPE = "openid profile"
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_LONGEST_ANSWER = 256 << 10
_MOST_AT_ONCE = 8
"""Sign-ins that wait for the provider at once. A provider that hangs must not hold every thread of the service."""
_ERROR_CODES = frozenset("abcdefghijklmnopqrstuvwxyz_")

T = TypeVar("T")


class Metadata(BaseModel):
    """What we use of the provider's own description (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str = Field(pattern=r"^https://\S+$", max_length=2000)
    token_endpoint: str = Field(pattern=r"^https://\S+$", max_length=2000)
    jwks_uri: str = Field(pattern=r"^https://\S+$", max_length=2000)
    end_session_endpoint: str | None = Field(default=None, pattern=r"^https://\S+$", max_length=2000)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(BaseModel):
    """What the provider gives for a code. We keep none of it."""

    id_token: str = Field(repr=False)
    access_token: str | None = Field(default=None, repr=False)


@dataclass
class _Remembered(Generic[T]):
    """One answer of the provider and when it was given."""

    value: T | None = None
    at: float = 0.0
    looked_at: float = -RETRY_SECONDS

    def age(self) -> float:
        return time.monotonic() - self.at if self.value is not None else float("inf")

    def may_look(self) -> bool:
        return time.monotonic() - self.looked_at >= RETRY_SECONDS


class OidcProvider:
    """Asks one provider."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self.expected = Expected(settings.issuer, settings.client_id)
        trusted = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        trusted.minimum_version = ssl.TLSVersion.TLSv1_2
        self._http = httpx.Client(verify=trusted, timeout=_TIMEOUT, follow_redirects=False)
        self._slots = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._lock = threading.Lock()
        self._metadata: _Remembered[Metadata] = _Remembered()
        self._keys: _Remembered[KeySet] = _Remembered()

    def metadata(self) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            ProviderAway: it does not answer, or speaks of another issuer.
        """
        return self._recall(self._metadata, self._look_at_metadata, lambda _: True)

    def keys(self, raw: str) -> KeySet:
        """Return the keys for a token; an unknown key id makes us look for new ones.

        Raises:
            ProviderAway: there are none to be had.
            TokenRefused: the token names no key that could be one.
        """
        kid = key_id(raw)
        return self._recall(self._keys, self._look_at_keys, lambda keys: any(key.kid == kid for key in keys))

    def address_of_sign_in(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser goes to show who is there.

        Raises:
            ProviderAway: the provider does not answer.
        """
        address: str = prepare_grant_uri(
            self.metadata().authorization_endpoint,
            client_id=self.settings.client_id,
            response_type="code",
            redirect_uri=self.settings.callback,
            scope=SCOPE,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            # Both factors each time: a session of hours ago, at a shared desk perhaps, opens no workspace.
            prompt="login",
        )
        return address

    def address_of_sign_out(self) -> str | None:
        """Return where a browser goes to sign out there (RP-Initiated Logout 1.0), if the provider answers and has it.

        We name ourselves by `client_id`, not by an ID token: tokens are not kept, and none stands in an address.
        """
        try:
            endpoint = self.metadata().end_session_endpoint
        except ProviderAway:
            return None
        if endpoint is None:
            return None
        query = {
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": self.settings.after_sign_out,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def redeem(self, code: str, verifier: str) -> Tokens:
        """Return what a code is worth (RFC 6749, 4.1.3, with RFC 7636).

        Raises:
            ProviderAway: the provider does not answer.
            ProviderRefused: it does not take the code.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.callback,
            "code_verifier": verifier,
        }
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        own = httpx.BasicAuth(quote(self.settings.client_id, safe=""), quote(self.settings.secret, safe=""))
        with self._slot():
            status, document = self._ask("POST", self.metadata().token_endpoint, data=form, auth=own)
        if status in {400, 401}:
            log.warning("oidc.code_refused", status=status, error=error_code(document.get("error")))
            raise ProviderRefused(error_code(document.get("error")))
        if status != httpx.codes.OK:
            raise ProviderAway
        try:
            return Tokens.model_validate(document)
        except ValidationError:
            log.warning("oidc.no_id_token")
            raise ProviderAway from None

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _recall(self, kept: _Remembered[T], look: Callable[[], T], fits: Callable[[T], bool]) -> T:
        with self._lock:
            if kept.value is not None and kept.age() < FRESH_SECONDS and fits(kept.value):
                return kept.value
            if kept.may_look():
                kept.looked_at = time.monotonic()
                try:
                    kept.value, kept.at = look(), time.monotonic()
                except (ProviderAway, TokenRefused, ValidationError) as error:
                    log.warning("oidc.provider_away", what=look.__name__, error=type(error).__name__)
                kept.looked_at = time.monotonic()
            if kept.value is None or kept.age() >= STALE_SECONDS:
                raise ProviderAway
            return kept.value

    def _look_at_metadata(self) -> Metadata:
        status, document = self._ask("GET", f"{self.settings.issuer}/.well-known/openid-configuration")
        found = Metadata.model_validate(document)
        if status != httpx.codes.OK or found.issuer != self.settings.issuer:
            raise ProviderAway
        return found

    def _look_at_keys(self) -> KeySet:
        known = self._metadata.value
        if known is None or self._metadata.age() >= FRESH_SECONDS:
            known = self._look_at_metadata()
        status, document = self._ask("GET", known.jwks_uri)
        if status != httpx.codes.OK:
            raise ProviderAway
        return usable_keys(document)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=1.0):
            raise ProviderAway
        try:
            yield
        finally:
            self._slots.release()

    def _ask(self, method: str, address: str, **options: Any) -> tuple[int, Mapping[str, Any]]:
        try:
            with self._http.stream(
                method, address, headers={"Accept": "application/json"}, **options
            ) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _LONGEST_ANSWER:
                        raise ProviderAway
                document = json.loads(bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("oidc.unanswered", error=type(error).__name__)
            raise ProviderAway from None
        if not isinstance(document, dict):
            raise ProviderAway
        return answer.status_code, document


def error_code(said: object) -> str:
    """Return an error code of the provider if it looks like one (RFC 6749, 4.1.2.1): it is shown and logged."""
    plain = isinstance(said, str) and 0 < len(said) <= 40 and set(said) <= _ERROR_CODES
    return str(said) if plain else "unknown_error"
