"""A provider's key, and tokens made with it: valid ones, and ones with a single thing wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from broch_api.signin.oidc.tokens import LOGOUT_EVENT, Expected, usable_keys
from broch_core.web.sessions import token_hash

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=1)
EXPECTED = Expected("https://id.example.org/realms/broch", "broch")
NONCE = "the nonce of this sign-in"
ACCESS = "an access token"
REMOVED = object()
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "RS256", "use": "sig"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "PS256", "use": "sig"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256", "use": "sig"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "EdDSA", "use": "sig"}),
}
STRANGER = RSAKey.generate_key(2048, {"kid": "RS256", "use": "sig"})
"""A key of somebody else, who calls it by the name of the provider's."""


def published() -> KeySet:
    """Return the provider's keys as we read them."""
    return usable_keys({"keys": [key.as_dict(private=False) for key in KEYS.values()]})


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def half_hash(text: str) -> str:
    """Return what `at_hash` says of a token under SHA-256."""
    return _base64(hashlib.sha256(text.encode()).digest()[:16])


def id_claims() -> dict[str, Any]:
    at = int(NOW.timestamp())
    return {
        "iss": EXPECTED.issuer,
        "sub": "7f0c",
        "aud": EXPECTED.client_id,
        "azp": EXPECTED.client_id,
        "exp": at + 60,
        "iat": at,
        "auth_time": at - 5,
        "nonce": NONCE,
        "at_hash": half_hash(ACCESS),
        "sid": "s-1",
        "amr": ["pwd", "otp"],
        "acr": "1",
        "name": "Ruth Test",
        "preferred_username": "ruth",
        "groups": ["/broch-reviewers"],
    }


def logout_claims() -> dict[str, Any]:
    at = int(NOW.timestamp())
    return {
        "iss": EXPECTED.issuer,
        "aud": EXPECTED.client_id,
        "iat": at,
        "exp": at + 120,
        "jti": "j-1",
        "sub": "7f0c",
        "sid": "s-1",
        "events": {LOGOUT_EVENT: {}},
    }


@dataclass
class Forged:
    """A token in the making."""

    claims: dict[str, Any]
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "RS256", "typ": "JWT"})
    key: Any = None

    def with_claims(self, **changed: Any) -> Forged:
        merged = {**self.claims, **changed}
        return Forged({k: v for k, v in merged.items() if v is not REMOVED}, self.header, self.key)

    def with_header(self, **changed: Any) -> Forged:
        merged = {**self.header, **changed}
        return Forged(self.claims, {k: v for k, v in merged.items() if v is not REMOVED}, self.key)

    def signed_by(self, key: Any) -> Forged:
        return Forged(self.claims, self.header, key)

    def text(self) -> str:
        payload = json.dumps(self.claims).encode()
        alg = self.header.get("alg")
        by_hand = alg in {"none", None} or "crit" in self.header or isinstance(self.key, bytes)
        if by_hand:  # the library would not sign these
            signed = f"{_base64(json.dumps(self.header).encode())}.{_base64(payload)}"
            rsa = KEYS["RS256"].private_key
            signature = rsa.sign(signed.encode(), PKCS1v15(), SHA256()) if alg == "RS256" else b""
            if isinstance(self.key, bytes):
                signature = hmac.digest(self.key, signed.encode(), "sha256")
            return f"{signed}.{_base64(signature)}"
        key = self.key or KEYS.get(str(self.header.get("kid"))) or KEYS["RS256"]
        registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
        return jws.serialize_compact(self.header, payload, key, registry=registry)


def public_pem() -> bytes:
    """Return the provider's public key as a shared secret: what a verifier would use that lets the token choose."""
    return bytes(KEYS["RS256"].as_pem(private=False))


NONCE_HASH = token_hash(NONCE)
