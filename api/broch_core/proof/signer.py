"""Signers: one protocol for file keys and, later, a key service."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broch_core.proof.errors import BadSignature, KeyUnavailable
from broch_core.proof.trust import Purpose, TrustedKey


class Signer(Protocol):
    """A private key that signs for one purpose. Never gives the key itself away."""

    @property
    def key(self) -> TrustedKey:
        """The public half: purpose, key id, period."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature (RFC 8032)."""


class KeySigner:
    """A `Signer` over a key in memory."""

    def __init__(self, private: Ed25519PrivateKey, key: TrustedKey) -> None:
        if private.public_key().public_bytes_raw() != key.public_key:
            raise KeyUnavailable(f"The private key of {key.key_id[:16]} belongs to another public key.")
        self._private = private
        self._key = key

    @property
    def key(self) -> TrustedKey:
        """The public half: purpose, key id, period."""
        return self._key

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature (RFC 8032)."""
        return self._private.sign(data)


def require(signer: Signer, purpose: Purpose) -> None:
    """Check that a signer is for this purpose.

    Raises:
        BadSignature: it is for another one.
    """
    if signer.key.purpose is not purpose:
        raise BadSignature(f"A key for {signer.key.purpose}s may not sign a {purpose}.")
