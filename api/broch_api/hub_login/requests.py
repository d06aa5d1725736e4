"""What comes to the two endpoints, read by the letter of RFC 6749 and RFC 7636. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlencode

from broch_api.hub_login.errors import Fault, TokenRefused

CLIENT_ID = "hub"
SCOPE = "workspace"
"""To learn which principal the browser may be; the only scope there is."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""BASE64URL(SHA256(verifier)) without padding: 43 characters (RFC 7636, 4.2)."""
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636, 4.1."""
_STATE = re.compile(r"[\x20-\x7e]{1,2000}")
"""RFC 6749, appendix A.5."""


@dataclass(frozen=True)
class Parameters:
    """Parameters of a request: without a value means absent, twice is an error (RFC 6749, 3.1 and 3.2)."""

    values: Mapping[str, str]
    repeated: frozenset[str]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Parameters:
        """Read name-value pairs in the order they came."""
        values: dict[str, str] = {}
        repeated: set[str] = set()
        for name, value in pairs:
            if name in values:
                repeated.add(name)
            if value:
                values[name] = value
        return cls(values, frozenset(repeated))

    def __getitem__(self, name: str) -> str:
        """Return a value; absent ones are empty."""
        return self.values.get(name, "")


def fault_of_authorization(given: Parameters) -> tuple[Fault, str] | None:
    """Return what is wrong with an authorisation request of the right client, or nothing."""
    state, kind = given["state"], given["response_type"]
    invalid = Fault.INVALID_REQUEST
    rules: tuple[tuple[bool, Fault, str], ...] = (
        (bool(given.repeated), invalid, "A parameter came twice."),
        (not state, invalid, "state is missing."),
        (not _STATE.fullmatch(state), invalid, "The state has characters that it may not have."),
        (not kind, invalid, "response_type is missing."),
        (kind != "code", Fault.UNSUPPORTED_RESPONSE_TYPE, "Only the response type 'code' is served."),
        (given["scope"] not in ("", SCOPE), Fault.INVALID_SCOPE, f"The only scope is '{SCOPE}'."),
        (given["code_challenge_method"] != "S256", invalid, "code_challenge_method must be S256."),
        (
            not _CHALLENGE.fullmatch(given["code_challenge"]),
            invalid,
            "code_challenge must be 43 characters of base64url.",
        ),
        (not given["principal"], invalid, "principal is missing."),
    )
    return next(((fault, says) for broken, fault, says in rules if broken), None)


def answer_address(redirect_uri: str, given: Parameters, **answer: str) -> str:
    """Return where the browser goes with an answer; the state goes back as it came, if it could be sent at all."""
    state = {"state": given["state"]} if _STATE.fullmatch(given["state"]) else {}
    return f"{redirect_uri}?{urlencode({**answer, **state})}"


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, 4.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class TokenRequest:
    """A code that the authenticated client wants to redeem."""

    code: str
    redirect_uri: str
    verifier: str


def read_token_request(given: Parameters, authorization: str, secret: str) -> TokenRequest:
    """Authenticate the client and read its request.

    Args:
        given: the posted form.
        authorization: the header, empty if there is none.
        secret: the client's secret.

    Raises:
        TokenRefused: with the code of RFC 6749, 5.2.
    """
    if given.repeated:
        raise TokenRefused(Fault.INVALID_REQUEST, "A parameter came twice.")
    _authenticate(given, authorization, secret)
    if not given["grant_type"]:
        raise TokenRefused(Fault.INVALID_REQUEST, "grant_type is missing.")
    if given["grant_type"] != "authorization_code":
        raise TokenRefused(Fault.UNSUPPORTED_GRANT_TYPE, "Only authorization_code is served.")
    for name in ("code", "redirect_uri", "code_verifier"):
        if not given[name]:
            raise TokenRefused(Fault.INVALID_REQUEST, f"{name} is missing.")
    if not _VERIFIER.fullmatch(given["code_verifier"]):
        raise TokenRefused(Fault.INVALID_REQUEST, "code_verifier has the wrong length or characters.")
    return TokenRequest(given["code"], given["redirect_uri"], given["code_verifier"])


def _authenticate(given: Parameters, authorization: str, secret: str) -> None:
    """Check the client's name and secret, by HTTP Basic or in the body, not by both (RFC 6749, 2.3)."""
    client, presented = given["client_id"], given["client_secret"]
    if authorization:
        if presented:
            raise TokenRefused(Fault.INVALID_REQUEST, "Authenticate in one way only.")
        named, presented = _basic(authorization)
        if client and client != named:
            raise TokenRefused(Fault.INVALID_REQUEST, "client_id is not the client that authenticated.")
        client = named
    known = hmac.compare_digest(client.encode(), CLIENT_ID.encode())
    right = hmac.compare_digest(presented.encode(), secret.encode())
    if not (known and right and secret):
        raise TokenRefused(Fault.INVALID_CLIENT, "The client could not be authenticated.")


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise TokenRefused(Fault.INVALID_CLIENT, "Authenticate by HTTP Basic or in the body.")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused(Fault.INVALID_CLIENT, "The Authorization header cannot be read.") from None
    return unquote_plus(name), unquote_plus(password)
