"""What a token of the provider proves. Pure: keys and time come from outside, and every doubt is a refusal."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, OKPKey, RSAKey
from joserfc.jws import extract_compact
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from broch_api.signin.oidc.errors import TokenRefused
from broch_core.web.sessions import token_hash

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures by a key that the provider alone has. Never `none`, never one by a secret that we have too (`HS256`)."""
SKEW = timedelta(seconds=30)
"""How far the provider's clock may be from ours."""
LOGOUT_LONGEST = timedelta(minutes=5)
"""Oldest logout token: it is sent once, at once."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_TYPES = frozenset({"jwt", "logout+jwt"})
_LONGEST_TOKEN = 32 << 10
_MOST_KEYS = 50
_LEAST_RSA_BITS = 2048
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}


@dataclass(frozen=True)
class Expected:
    """Whose tokens for whom."""

    issuer: str
    client_id: str


class _Claims(BaseModel):
    """What both kinds of token say; unknown claims are nothing to us."""

    model_config = ConfigDict(extra="ignore", strict=True)

    iss: StrictStr
    iat: StrictInt | float
    sid: StrictStr | None = Field(default=None, min_length=1, max_length=255)


C = TypeVar("C", bound=_Claims)


class Identity(_Claims):
    """What an ID token says of who signed in."""

    sub: StrictStr = Field(min_length=1, max_length=255)
    auth_time: StrictInt
    nonce: StrictStr = Field(min_length=1, max_length=200)
    amr: list[StrictStr] = []
    acr: StrictStr | None = None
    name: StrictStr | None = None
    preferred_username: StrictStr | None = None
    groups: list[StrictStr] = []

    def methods(self) -> frozenset[str]:
        """Return how the person was authenticated: methods, and the class of the whole."""
        return frozenset(self.amr) | ({self.acr} if self.acr else set())


class Logout(_Claims):
    """What a logout token ends: one session of the provider, or all of a person."""

    sub: StrictStr | None = Field(default=None, min_length=1, max_length=255)
    jti: StrictStr = Field(min_length=1, max_length=255)
    exp: StrictInt | float | None = None
    events: dict[str, dict[str, Any]]


def usable_keys(document: Mapping[str, Any]) -> KeySet:
    """Return the keys of a JWK set (RFC 7517) that may sign tokens; others are left out.

    Raises:
        TokenRefused: it has none.
    """
    listed = document.get("keys")
    found = []
    for item in listed[:_MOST_KEYS] if isinstance(listed, list) else []:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("kid"), str)
            or item.get("use", "sig") != "sig"
        ):
            continue
        try:
            key = JWKRegistry.import_key(item)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if _strong(key, item):
            found.append(key)
    if not found:
        raise TokenRefused("no keys")
    return KeySet(found)


def _strong(key: Any, item: Mapping[str, Any]) -> bool:
    if isinstance(key, RSAKey):
        return key.public_key.key_size >= _LEAST_RSA_BITS
    return isinstance(key, ECKey | OKPKey) and item.get("crv") == _CURVES[key.key_type]


def key_id(raw: str) -> str:
    """Return which key a token says that it is signed with, believing nothing.

    Raises:
        TokenRefused: it cannot be read, or its algorithm is none of ours.
    """
    if len(raw) > _LONGEST_TOKEN:
        raise TokenRefused("too long")
    try:
        header = extract_compact(raw.encode("ascii")).headers()
    except (JoseError, ValueError) as error:
        raise TokenRefused("unreadable") from error
    kid, alg = header.get("kid"), header.get("alg")
    if alg not in ALGORITHMS:
        raise TokenRefused("algorithm")
    if not isinstance(kid, str):
        raise TokenRefused("no key id")
    return kid


def check_id_token(
    raw: str,
    keys: KeySet,
    expected: Expected,
    *,
    nonce_hash: str,
    access_token: str | None,
    began: datetime,
    now: datetime,
) -> Identity:
    """Return who signed in (OpenID Connect Core 1.0, 3.1.3.7).

    Args:
        raw: the token.
        keys: of the provider.
        expected: whose token for whom.
        nonce_hash: of the nonce that this browser's sign-in was begun with.
        access_token: that came with it; `at_hash` must fit.
        began: when the sign-in was begun. The person must have been authenticated since: not by a session of before.
        now: the present moment.

    Raises:
        TokenRefused: it proves nothing, with the reason.
    """
    claims = _verified(raw, keys, expected, CodeIDToken, access_token, now)
    identity = _shaped(Identity, claims)
    if not hmac.compare_digest(token_hash(identity.nonce), nonce_hash):
        raise TokenRefused("nonce")
    earliest = (began - SKEW).timestamp()
    if identity.iat < earliest:
        raise TokenRefused("iat")
    if not earliest <= identity.auth_time <= (now + SKEW).timestamp():
        raise TokenRefused("auth_time")
    return identity


def check_logout_token(raw: str, keys: KeySet, expected: Expected, *, now: datetime) -> Logout:
    """Return what has to end (OpenID Connect Back-Channel Logout 1.0, 2.6).

    Raises:
        TokenRefused: it proves nothing, with the reason.
    """
    claims = _verified(raw, keys, expected, _LogoutClaims, None, now)
    if "nonce" in claims:
        raise TokenRefused("nonce")  # an ID token
    logout = _shaped(Logout, claims)
    if LOGOUT_EVENT not in logout.events:
        raise TokenRefused("events")
    if logout.iat < (now - LOGOUT_LONGEST).timestamp():
        raise TokenRefused("iat")
    if logout.sub is None and logout.sid is None:
        raise TokenRefused("neither sub nor sid")
    return logout


class _LogoutClaims(CodeIDToken):  # type: ignore[misc]  # Authlib has no types
    """Claims of a logout token: it may lack a subject and an expiry."""

    ESSENTIAL_CLAIMS = ("iss", "aud", "iat", "jti", "events")


def _verified(
    raw: str,
    keys: KeySet,
    expected: Expected,
    registry: type[CodeIDToken],
    access_token: str | None,
    now: datetime,
) -> Mapping[str, Any]:
    key_id(raw)
    try:
        token = jwt.decode(raw, keys, algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefused("signature") from error
    kind = token.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefused("type")
    if token.claims.get("aud") not in (expected.client_id, [expected.client_id]):
        raise TokenRefused("aud")  # also one for us and others: they could show it to us
    judged = registry(
        token.claims,
        token.header,
        {"iss": {"essential": True, "value": expected.issuer}},
        {"client_id": expected.client_id, "access_token": access_token},
    )
    try:
        judged.validate(now=int(now.timestamp()), leeway=int(SKEW.total_seconds()))
    except JoseError as error:
        raise TokenRefused(str(error)[:80]) from error
    return token.claims


def _shaped(shape: type[C], claims: Mapping[str, Any]) -> C:
    try:
        return shape.model_validate(claims)
    except ValidationError as error:
        raise TokenRefused(".".join(str(part) for part in error.errors()[0]["loc"])[:80]) from error
