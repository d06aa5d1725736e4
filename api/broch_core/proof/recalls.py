"""The list of recalls: which releases of a log do not hold any more, signed by a statement key, checked offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from broch_core.proof import encoding
from broch_core.proof.canonical import canonical
from broch_core.proof.dsse import Envelope, sign_envelope, verify_envelope
from broch_core.proof.errors import BadSignature, Malformed
from broch_core.proof.signer import Signer
from broch_core.proof.trust import TrustFile, check_name, write_moment

RECALLS_TYPE = "application/vnd.broch.recalls.v1+json"
RECALLS_LIMIT = 8 << 20
"""Most bytes of a list: 8 MiB."""
MOST_RECALLS = 50_000


@dataclass(frozen=True)
class RecallList:
    """Every release of a log that was recalled up to a moment.

    Raises:
        Malformed: on making one that a verifier would refuse.
    """

    origin: str
    at: datetime
    """What was recalled later is not in it."""
    recalls: Mapping[str, datetime]
    """Id of the release, and when it was recalled."""

    def __post_init__(self) -> None:
        check_name(self.origin)
        if len(self.recalls) > MOST_RECALLS:
            raise Malformed(f"A list names at most {MOST_RECALLS} recalls.")
        for release in self.recalls:
            encoding.text(release, what="The id of a release", longest=128)

    def payload(self) -> bytes:
        """Return the list in canonical JSON: the bytes that are signed."""
        return canonical(
            {
                "origin": self.origin,
                "at": write_moment(self.at),
                "recalls": [
                    {"release_id": release, "at": write_moment(at)}
                    for release, at in sorted(self.recalls.items())
                ],
            }
        )

    def sign(self, signers: Sequence[Signer]) -> str:
        """Return the list in a DSSE envelope, as indented JSON.

        Raises:
            BadSignature: no signer, or one for another purpose.
        """
        envelope = sign_envelope(self.payload(), signers, payload_type=RECALLS_TYPE)
        return json.dumps(envelope.dump(), indent=2) + "\n"

    @classmethod
    def parse(cls, data: bytes, trust: TrustFile) -> RecallList:
        """Read a list strictly and check who signed it.

        Raises:
            Malformed: it has another form or an unknown field.
            BadSignature: no key of the trust file that was valid then signed it, or it is of another log.
        """
        value = encoding.read_json(data, what="The list of recalls", limit=RECALLS_LIMIT)
        envelope = Envelope.parse(value)
        signed = verify_envelope(envelope, trust.keys, payload_type=RECALLS_TYPE)
        content = encoding.read_json(envelope.payload, what="The list of recalls", limit=RECALLS_LIMIT)
        fields = encoding.members(content, ("origin", "at", "recalls"), what="The list of recalls")
        listed = encoding.items(fields["recalls"], what="The recalls", most=MOST_RECALLS)
        recalls: dict[str, datetime] = {}
        for entry in listed:
            recall = encoding.members(entry, ("release_id", "at"), what="A recall")
            release = encoding.text(recall["release_id"], what="The id of a release", longest=128)
            recalls[release] = encoding.moment(recall["at"], what="at")
        found = cls(
            encoding.text(fields["origin"], what="The origin"),
            encoding.moment(fields["at"], what="at"),
            recalls,
        )
        if found.payload() != envelope.payload:
            raise Malformed("The list of recalls is not in canonical form.")
        if found.origin != trust.origin:
            raise BadSignature(
                f"The list of recalls is of the log {found.origin}; the trust file is for {trust.origin}."
            )
        for key in signed:
            if not key.valid_at(found.at):
                raise BadSignature(f"Key {key.key_id[:16]} was not valid when the list of recalls was made.")
        return found
