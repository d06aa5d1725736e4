"""Public keys, and the trust file: which keys a verifier believes, for what, and when. It comes from outside a receipt."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from broch_core.proof import encoding
from broch_core.proof.errors import BadSignature, Malformed

TRUST_VERSION = "https://broch.dev/trust/v1"
TRUST_LIMIT = 1 << 20
"""Most bytes of a trust file: 1 MiB, several thousand keys."""


class Purpose(StrEnum):
    """What a key may sign. A key has one purpose, so that a signature of one kind never passes as another."""

    STATEMENT = "statement"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class TrustedKey:
    """An Ed25519 public key, what it may sign, and from when until (not including) when."""

    purpose: Purpose
    public_key: bytes
    """32 bytes (RFC 8032)."""
    not_before: datetime
    not_after: datetime | None = None

    @property
    def der(self) -> bytes:
        """The key as SubjectPublicKeyInfo (RFC 8410), as openssl reads it."""
        return _load(self.public_key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, 64 hex digits."""
        return hashlib.sha256(self.der).hexdigest()

    def valid_at(self, at: datetime) -> bool:
        """Tell whether the period of the key includes this moment."""
        return self.not_before <= at and (self.not_after is None or at < self.not_after)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check an Ed25519 signature (RFC 8032).

        Raises:
            BadSignature: it is not by this key over these bytes.
        """
        try:
            _load(self.public_key).verify(signature, data)
        except InvalidSignature as error:
            raise BadSignature(f"The signature of key {self.key_id[:16]} does not match.") from error


@dataclass(frozen=True)
class TrustFile:
    """The keys of one Broch: the origin of its log and every key that it signs or signed with."""

    origin: str
    keys: tuple[TrustedKey, ...]

    def __post_init__(self) -> None:
        check_name(self.origin)
        seen: dict[bytes, Purpose] = {}
        for key in self.keys:
            if key.public_key in seen:
                raise Malformed(f"The trust file lists key {key.key_id[:16]} twice.")
            seen[key.public_key] = key.purpose

    def of(self, purpose: Purpose) -> tuple[TrustedKey, ...]:
        """Return the keys of one purpose."""
        return tuple(key for key in self.keys if key.purpose is purpose)

    def dump(self) -> bytes:
        """Write the file, for people to read: indented JSON."""
        keys = [
            {
                "purpose": str(key.purpose),
                "key_id": key.key_id,
                "public_key": encoding.to_base64(key.der),
                "not_before": write_moment(key.not_before),
                "not_after": None if key.not_after is None else write_moment(key.not_after),
            }
            for key in self.keys
        ]
        value = {"version": TRUST_VERSION, "origin": self.origin, "keys": keys}
        return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> TrustFile:
        """Read a trust file strictly.

        Raises:
            Malformed: it has another form, another version, a wrong key id, a key twice, or an unknown field.
        """
        value = encoding.read_json(data, what="The trust file", limit=TRUST_LIMIT)
        fields = encoding.members(value, ("version", "origin", "keys"), what="The trust file")
        if fields["version"] != TRUST_VERSION:
            raise Malformed("The trust file has a version unknown to this program.")
        keys = encoding.items(fields["keys"], what="The list of keys", least=1, most=10_000)
        origin = encoding.text(fields["origin"], what="The origin", longest=255)
        return cls(origin, tuple(_key(key) for key in keys))


def check_name(name: str) -> None:
    """Check a name of a log or key: it is not empty, without white space and plus (C2SP signed-note).

    Raises:
        Malformed: it is none.
    """
    if not name or len(name) > 255 or not name.isprintable() or "+" in name or any(c.isspace() for c in name):
        raise Malformed("The name of a log has 1 to 255 characters, no white space and no plus sign.")


def write_moment(moment: datetime) -> str:
    """Write RFC 3339 in UTC, to the microsecond only where there are any."""
    if moment.tzinfo is None:
        raise Malformed("A time in a proof needs a time zone.")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _key(value: Any) -> TrustedKey:
    fields = encoding.members(
        value, ("purpose", "key_id", "public_key", "not_before", "not_after"), what="A key"
    )
    if fields["purpose"] not in list(Purpose):
        raise Malformed("A key has a purpose unknown to this program.")
    end = fields["not_after"]
    key = TrustedKey(
        Purpose(fields["purpose"]),
        _raw(encoding.from_base64(fields["public_key"], what="A public key")),
        encoding.moment(fields["not_before"], what="not_before of a key"),
        None if end is None else encoding.moment(end, what="not_after of a key"),
    )
    if key.key_id != fields["key_id"]:
        raise Malformed("A key id is not the SHA-256 of its public key.")
    if key.not_after is not None and key.not_after <= key.not_before:
        raise Malformed(f"The period of key {key.key_id[:16]} ends before it begins.")
    return key


def _raw(der: bytes) -> bytes:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("A public key is not in SubjectPublicKeyInfo form.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Malformed("A public key is not an Ed25519 key.")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise Malformed("A public key is not in its canonical form.")
    return key.public_bytes_raw()


def _load(raw: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise Malformed("An Ed25519 public key has 32 bytes.") from error
