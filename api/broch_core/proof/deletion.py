"""What a deletion certificate attests: that bytes were deleted, by digest; an in-toto statement v1 of our own type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broch_core.proof import encoding
from broch_core.proof.attestation import (
    MOST_FILES,
    STATEMENT_LIMIT,
    STATEMENT_TYPE,
    ReleasedFile,
    check_file_name,
    parse_file,
)
from broch_core.proof.canonical import canonical
from broch_core.proof.dsse import Envelope, sign_envelope
from broch_core.proof.errors import Malformed
from broch_core.proof.signer import Signer
from broch_core.proof.trust import check_name, write_moment

DELETION_PREDICATE = "https://broch.dev/attestation/deletion/v1"
"""Only an identifier; nothing is fetched from there."""
DELETION_ACTION = "airlock:delete"
"""`action` of the audit leaf that records a deletion."""
STORAGE_CLASSES = frozenset({"draft", "quarantined", "held", "released"})


@dataclass(frozen=True)
class DeletionStatement:
    """One deletion. All ids are opaque; nothing here names a person.

    Raises:
        Malformed: on making one that a verifier would refuse.
    """

    deletion_id: str
    project_id: str
    request_id: str
    storage_class: str
    """What the bytes were kept as."""
    at_rest_since: datetime
    """When the request came to rest: its retention ran from then."""
    retention_seconds: int
    """For how long bytes of this class were kept then."""
    deleted_at: datetime
    origin: str
    """Origin of the log that records the deletion."""
    files: tuple[ReleasedFile, ...]
    """The names and digests of what was deleted."""
    kept: tuple[str, ...]
    """Digests that another request of the project holds too, so that these bytes stayed."""

    def __post_init__(self) -> None:
        for value in (self.deletion_id, self.project_id, self.request_id):
            encoding.text(value, what="An id", longest=128)
        if self.storage_class not in STORAGE_CLASSES:
            raise Malformed("The statement names an unknown class of bytes.")
        if self.retention_seconds < 0 or self.at_rest_since > self.deleted_at:
            raise Malformed("The times of the deletion do not follow each other.")
        check_name(self.origin)
        if not 1 <= len(self.files) <= MOST_FILES or len(self.kept) > MOST_FILES:
            raise Malformed(f"A deletion has 1 to {MOST_FILES} files.")
        if len({file.name for file in self.files}) != len(self.files):
            raise Malformed("Two files of the deletion have one name.")
        for file in self.files:
            check_file_name(file.name)
            encoding.hex32(file.sha256, what="The digest of a file")
        for digest in self.kept:
            encoding.hex32(digest, what="A digest that is kept")
        if {file.sha256 for file in self.files} & set(self.kept):
            raise Malformed("The same bytes are both deleted and kept.")

    def payload(self) -> bytes:
        """Return the statement in canonical JSON: the bytes that are signed.

        Raises:
            Malformed: it would be larger than a certificate can hold.
        """
        data = canonical(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": file.name, "digest": {"sha256": file.sha256}} for file in self.files],
                "predicateType": DELETION_PREDICATE,
                "predicate": {
                    "deletion_id": self.deletion_id,
                    "project_id": self.project_id,
                    "request_id": self.request_id,
                    "class": self.storage_class,
                    "at_rest_since": write_moment(self.at_rest_since),
                    "retention_seconds": self.retention_seconds,
                    "deleted_at": write_moment(self.deleted_at),
                    "kept": list(self.kept),
                    "log": {"origin": self.origin},
                },
            }
        )
        if len(data) > STATEMENT_LIMIT:
            raise Malformed(f"The statement is larger than {STATEMENT_LIMIT} bytes.")
        return data

    def sign(self, signers: Sequence[Signer]) -> Envelope:
        """Return the statement in a DSSE envelope, signed by statement keys that are valid when it was made.

        Raises:
            Malformed: a key is not valid at that time.
            BadSignature: no signer, or one for another purpose.
        """
        for signer in signers:
            if not signer.key.valid_at(self.deleted_at):
                raise Malformed(f"Key {signer.key.key_id[:16]} is not valid at the time of the deletion.")
        return sign_envelope(self.payload(), signers)

    @classmethod
    def parse(cls, payload: bytes) -> DeletionStatement:
        """Read a statement strictly.

        Raises:
            Malformed: it has another form, an unknown field, or breaks a rule of a deletion.
        """
        value = encoding.read_json(payload, what="The statement", limit=STATEMENT_LIMIT)
        top = encoding.members(
            value, ("_type", "subject", "predicateType", "predicate"), what="The statement"
        )
        if top["_type"] != STATEMENT_TYPE or top["predicateType"] != DELETION_PREDICATE:
            raise Malformed("The statement is of a type or version unknown to this program.")
        names = (
            "deletion_id", "project_id", "request_id", "class", "at_rest_since", "retention_seconds", "deleted_at",
            "kept", "log",
        )  # fmt: skip
        predicate: dict[str, Any] = encoding.members(top["predicate"], names, what="The predicate")
        log = encoding.members(predicate["log"], ("origin",), what="log")
        kept = encoding.items(predicate["kept"], what="The digests that are kept", most=MOST_FILES)
        subjects = encoding.items(top["subject"], what="The files", least=1, most=MOST_FILES)
        statement = cls(
            **{name: encoding.text(predicate[name], what=name) for name in names[:3]},
            storage_class=encoding.text(predicate["class"], what="class"),
            at_rest_since=encoding.moment(predicate["at_rest_since"], what="at_rest_since"),
            retention_seconds=encoding.integer(predicate["retention_seconds"], what="retention_seconds"),
            deleted_at=encoding.moment(predicate["deleted_at"], what="deleted_at"),
            origin=encoding.text(log["origin"], what="The origin"),
            files=tuple(parse_file(subject) for subject in subjects),
            kept=tuple(encoding.hex32(digest, what="A digest that is kept") for digest in kept),
        )
        if statement.payload() != payload:
            raise Malformed("The statement is not in canonical form.")
        return statement
