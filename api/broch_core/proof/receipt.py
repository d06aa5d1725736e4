"""The receipt of a release: signed statement, audit leaf, inclusion proof, checkpoint. Checked without any server.

A deletion certificate is built in the same way, of another statement and under a media type of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broch_core.proof import encoding
from broch_core.proof.attestation import ReleaseStatement, statement_digest
from broch_core.proof.canonical import canonical
from broch_core.proof.dsse import Envelope
from broch_core.proof.errors import InvalidProof, Malformed
from broch_core.proof.merkle import leaf_hash, verify_inclusion
from broch_core.proof.notes import Checkpoint, Note

RECEIPT_TYPE = "application/vnd.broch.receipt.v1+json"
RECEIPT_LIMIT = 1 << 20
"""Most bytes of a receipt: 1 MiB."""
RELEASE_ACTION = "airlock:release"
"""`action` of the audit leaf that records a release."""
LEAF_VERSION = 1
_LEAF = ("v", "id", "at", "actor", "action", "outcome", "subject", "project", "facts", "personal")
_MOST_HASHES = 64


class Attested(Protocol):
    """What every statement of ours says about itself."""

    @property
    def project_id(self) -> str:
        """Whose files."""

    @property
    def request_id(self) -> str:
        """Which request's."""

    @property
    def origin(self) -> str:
        """Origin of the log that records it."""


@dataclass(frozen=True)
class Receipt:
    """The parts of a receipt; that they belong together is for the verifier to find."""

    envelope: Envelope
    leaf: bytes
    """The audit leaf: canonical JSON, byte for byte as it was hashed into the log."""
    index: int
    size: int
    hashes: tuple[bytes, ...]
    """Inclusion proof of leaf `index` in the log of `size` leaves."""
    checkpoint: str
    """Signed note."""
    media_type: str = RECEIPT_TYPE

    @classmethod
    def parse(cls, data: bytes, media_type: str = RECEIPT_TYPE) -> Receipt:
        """Read a receipt strictly.

        Raises:
            Malformed: it has another form or version, an unknown field, a key twice, or is larger than 1 MiB.
        """
        value = encoding.read_json(data, what="The receipt", limit=RECEIPT_LIMIT)
        names = ("mediaType", "envelope", "leaf", "inclusion", "checkpoint")
        fields = encoding.members(value, names, what="The receipt")
        if fields["mediaType"] != media_type:
            raise Malformed("The receipt is of a type or version unknown to this program.")
        inclusion = encoding.members(
            fields["inclusion"], ("index", "size", "hashes"), what="The inclusion proof"
        )
        hashes = encoding.items(
            inclusion["hashes"], what="The hashes of the inclusion proof", most=_MOST_HASHES
        )
        for name in ("leaf", "checkpoint"):
            if not isinstance(fields[name], str):
                raise Malformed(f"The {name} of the receipt is not a text.")
        return cls(
            Envelope.parse(fields["envelope"]),
            fields["leaf"].encode("utf-8"),
            encoding.integer(inclusion["index"], what="The index of the leaf"),
            encoding.integer(inclusion["size"], what="The size of the log"),
            tuple(
                bytes.fromhex(encoding.hex32(node, what="A hash of the inclusion proof")) for node in hashes
            ),
            fields["checkpoint"],
            media_type,
        )

    def dump(self) -> bytes:
        """Write the receipt, for people to read: indented JSON.

        Raises:
            Malformed: it would be larger than 1 MiB.
        """
        value = {
            "mediaType": self.media_type,
            "envelope": self.envelope.dump(),
            "leaf": self.leaf.decode("utf-8"),
            "inclusion": {
                "index": self.index,
                "size": self.size,
                "hashes": [node.hex() for node in self.hashes],
            },
            "checkpoint": self.checkpoint,
        }
        data = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
        if len(data) > RECEIPT_LIMIT:
            raise Malformed("The receipt would be larger than 1 MiB: release fewer files at once.")
        return data


def build_receipt(
    envelope: Envelope, leaf: bytes, *, index: int, hashes: Sequence[bytes], checkpoint: str
) -> bytes:
    """Put a receipt together and check that its parts belong to each other.

    Args:
        envelope: the signed statement.
        leaf: the audit leaf of the release, as it was hashed.
        index: index of that leaf in the log.
        hashes: its inclusion proof in the log of the checkpoint.
        checkpoint: the signed note.

    Raises:
        Malformed: a part has not its form, or the leaf records another release.
        InvalidProof: the leaf is not shown to be in the log.
    """
    statement = ReleaseStatement.parse(envelope.payload)
    check_leaf(leaf, statement, envelope.payload)
    return assemble(
        RECEIPT_TYPE, statement, envelope, leaf, index=index, hashes=hashes, checkpoint=checkpoint
    )


def assemble(
    media_type: str,
    statement: Attested,
    envelope: Envelope,
    leaf: bytes,
    *,
    index: int,
    hashes: Sequence[bytes],
    checkpoint: str,
) -> bytes:
    """Put signed statement, leaf and proof together once the leaf is shown to be in the log; see `build_receipt`."""
    head = Checkpoint.parse(Note.parse(checkpoint).text)
    if head.origin != statement.origin:
        raise InvalidProof("The statement and the checkpoint are of different logs.")
    verify_inclusion(leaf_hash(leaf), index, head.size, hashes, head.root)
    return Receipt(envelope, leaf, index, head.size, tuple(hashes), checkpoint, media_type).dump()


def check_leaf(leaf: bytes, statement: Attested, payload: bytes, action: str = RELEASE_ACTION) -> None:
    """Check that an audit leaf records what this statement says and nothing else.

    The leaf is that of `broch_core.audit`: the action was allowed, project and subject are those of the statement, and
    `facts.statement_sha256` is the digest of the statement.

    Raises:
        Malformed: it does not.
    """
    value = encoding.read_json(leaf, what="The audit leaf", limit=RECEIPT_LIMIT)
    fields: dict[str, Any] = encoding.members(value, _LEAF, what="The audit leaf")
    if canonical(fields) != leaf:
        raise Malformed("The audit leaf is not in canonical form.")
    if type(fields["v"]) is not int or fields["v"] != LEAF_VERSION:
        raise Malformed("The audit leaf has a version unknown to this program.")
    if fields["action"] != action or fields["outcome"] != "allowed":
        raise Malformed(f"The audit leaf does not record a {action.partition(':')[2]}.")
    facts = fields["facts"]
    if not isinstance(facts, Mapping) or facts.get("statement_sha256") != statement_digest(payload):
        raise Malformed("The audit leaf does not commit to this statement.")
    subject = encoding.members(fields["subject"], ("kind", "id"), what="The subject of the audit leaf")
    if fields["project"] != statement.project_id or subject["id"] != statement.request_id:
        raise Malformed("The audit leaf is about another request.")
