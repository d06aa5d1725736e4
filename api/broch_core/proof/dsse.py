"""DSSE, the Dead Simple Signing Envelope, version 1 (github.com/secure-systems-lab/dsse)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from broch_core.proof import encoding
from broch_core.proof.errors import BadSignature, Malformed
from broch_core.proof.signer import Signer, require
from broch_core.proof.trust import Purpose, TrustedKey

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of an in-toto statement."""
MOST_SIGNATURES = 16


@dataclass(frozen=True)
class Envelope:
    """A payload, what it is, and signatures over both: (key id, 64 bytes)."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    def dump(self) -> dict[str, Any]:
        """Return the envelope as a JSON value."""
        return {
            "payloadType": self.payload_type,
            "payload": encoding.to_base64(self.payload),
            "signatures": [{"keyid": key, "sig": encoding.to_base64(sig)} for key, sig in self.signatures],
        }

    @classmethod
    def parse(cls, value: Any) -> Envelope:
        """Read an envelope from a JSON value, strictly.

        Raises:
            Malformed: it has another form, an unknown field, or two signatures under one key id.
        """
        fields = encoding.members(value, ("payloadType", "payload", "signatures"), what="The envelope")
        signatures: dict[str, bytes] = {}
        listed = encoding.items(fields["signatures"], what="The signatures", least=1, most=MOST_SIGNATURES)
        for entry in listed:
            signature = encoding.members(entry, ("keyid", "sig"), what="A signature")
            key_id = encoding.text(signature["keyid"], what="A key id", longest=256)
            if key_id in signatures:
                raise Malformed("The envelope has two signatures under one key id.")
            signatures[key_id] = encoding.from_base64(signature["sig"], what="A signature")
        return cls(
            encoding.from_base64(fields["payload"], what="The payload"),
            encoding.text(fields["payloadType"], what="The payload type", longest=256),
            tuple(signatures.items()),
        )


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(payload: bytes, signers: Sequence[Signer], *, payload_type: str = IN_TOTO) -> Envelope:
    """Sign a payload with statement keys.

    Raises:
        BadSignature: no signer, or one for another purpose.
    """
    if not signers:
        raise BadSignature("An envelope needs a signature.")
    for signer in signers:
        require(signer, Purpose.STATEMENT)
    data = pae(payload_type, payload)
    return Envelope(
        payload, payload_type, tuple((signer.key.key_id, signer.sign(data)) for signer in signers)
    )


def verify_envelope(
    envelope: Envelope, keys: Sequence[TrustedKey], *, payload_type: str = IN_TOTO
) -> tuple[TrustedKey, ...]:
    """Return the trusted keys that signed; at least one did. Signatures by keys that are not listed say nothing.

    Stricter than DSSE asks: every signature under the id of a listed key has to match.

    Raises:
        BadSignature: no listed key signed, a signature does not match, or the payload is of another type.
    """
    if envelope.payload_type != payload_type:
        raise BadSignature("The envelope holds another type of payload.")
    known = {key.key_id: key for key in keys}
    data = pae(envelope.payload_type, envelope.payload)
    signed: list[TrustedKey] = []
    for key_id, signature in envelope.signatures:
        key = known.get(key_id)
        if key is None:
            continue
        if key.purpose is not Purpose.STATEMENT:
            raise BadSignature(
                f"The statement is signed with key {key_id[:16]}, which is for {key.purpose}s."
            )
        key.verify(signature, data)
        signed.append(key)
    if not signed:
        raise BadSignature("No key of the trust file signed the statement.")
    return tuple(signed)
