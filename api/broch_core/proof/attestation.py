"""What a release attests: an in-toto statement v1 (in-toto.io/Statement/v1) with a predicate of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from broch_core.proof import encoding
from broch_core.proof.canonical import canonical
from broch_core.proof.dsse import Envelope, sign_envelope
from broch_core.proof.errors import Malformed
from broch_core.proof.signer import Signer
from broch_core.proof.trust import check_name, write_moment

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://broch.dev/attestation/release/v1"
"""Only an identifier; nothing is fetched from there."""
STATEMENT_LIMIT = 768 * 1024
"""Most bytes of a statement: in base64, with the proof beside it, it fits the 1 MiB of a receipt."""
MOST_FILES = 5_000
VERDICTS = frozenset({"clean", "flagged", "blocked", "unscannable", "error"})
EGRESS_REVIEWERS = 2
"""Independent reviewers that agreed to an egress."""


class Direction(StrEnum):
    """Which way the files crossed the boundary."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True)
class ReleasedFile:
    """A file that crossed: its name in the request and the SHA-256 of its bytes, 64 hex digits."""

    name: str
    sha256: str


@dataclass(frozen=True)
class CheckSummary:
    """The worst that one check said of the files, and the engine (with version) that said it."""

    check: str
    verdict: str
    engine: str


@dataclass(frozen=True)
class ReleaseStatement:
    """One release. All ids are opaque; nothing here names a person.

    Raises:
        Malformed: on making one that a verifier would refuse.
    """

    release_id: str
    project_id: str
    request_id: str
    direction: Direction
    released_at: datetime
    reviewers: tuple[str, ...]
    """Who agreed; two different ids at least for an egress."""
    policy_digest: str
    """SHA-256 of the canonical policy that the release was judged by, 64 hex digits."""
    checks: tuple[CheckSummary, ...]
    origin: str
    """Origin of the log that records the release."""
    files: tuple[ReleasedFile, ...]

    def __post_init__(self) -> None:
        ids = (self.release_id, self.project_id, self.request_id, *self.reviewers)
        for value in ids:
            encoding.text(value, what="An id", longest=128)
        if len(set(self.reviewers)) != len(self.reviewers):
            raise Malformed("One reviewer is named twice.")
        if self.direction is Direction.EGRESS and len(self.reviewers) < EGRESS_REVIEWERS:
            raise Malformed("An egress needs two different reviewers; the statement names fewer.")
        encoding.hex32(self.policy_digest, what="The policy digest")
        check_name(self.origin)
        for check in self.checks:
            encoding.text(check.check, what="The name of a check", longest=128)
            encoding.text(check.engine, what="The engine of a check", longest=256)
            if check.verdict not in VERDICTS:
                raise Malformed("A check has a verdict unknown to this program.")
        if not 1 <= len(self.files) <= MOST_FILES:
            raise Malformed(f"A release has 1 to {MOST_FILES} files.")
        if len({file.name for file in self.files}) != len(self.files):
            raise Malformed("Two files of the release have one name.")
        for file in self.files:
            check_file_name(file.name)
            encoding.hex32(file.sha256, what="The digest of a file")

    def payload(self) -> bytes:
        """Return the statement in canonical JSON: the bytes that are signed.

        Raises:
            Malformed: it would be larger than a receipt can hold.
        """
        data = canonical(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": file.name, "digest": {"sha256": file.sha256}} for file in self.files],
                "predicateType": PREDICATE_TYPE,
                "predicate": {
                    "release_id": self.release_id,
                    "project_id": self.project_id,
                    "request_id": self.request_id,
                    "direction": self.direction,
                    "released_at": write_moment(self.released_at),
                    "reviewers": list(self.reviewers),
                    "policy_digest": self.policy_digest,
                    "checks": [
                        {"check": check.check, "verdict": check.verdict, "engine": check.engine}
                        for check in self.checks
                    ],
                    "log": {"origin": self.origin},
                },
            }
        )
        if len(data) > STATEMENT_LIMIT:
            raise Malformed(
                f"The statement is larger than {STATEMENT_LIMIT} bytes: release fewer files at once."
            )
        return data

    def sign(self, signers: Sequence[Signer]) -> Envelope:
        """Return the statement in a DSSE envelope, signed by statement keys that are valid when it was released.

        Raises:
            Malformed: a key is not valid at that time.
            BadSignature: no signer, or one for another purpose.
        """
        for signer in signers:
            if not signer.key.valid_at(self.released_at):
                raise Malformed(f"Key {signer.key.key_id[:16]} is not valid at the time of the release.")
        return sign_envelope(self.payload(), signers)

    @classmethod
    def parse(cls, payload: bytes) -> ReleaseStatement:
        """Read a statement strictly.

        Raises:
            Malformed: it has another form, an unknown field, or breaks a rule of a release.
        """
        value = encoding.read_json(payload, what="The statement", limit=STATEMENT_LIMIT)
        top = encoding.members(
            value, ("_type", "subject", "predicateType", "predicate"), what="The statement"
        )
        if top["_type"] != STATEMENT_TYPE or top["predicateType"] != PREDICATE_TYPE:
            raise Malformed("The statement is of a type or version unknown to this program.")
        names = (
            "release_id", "project_id", "request_id", "direction", "released_at", "reviewers", "policy_digest",
            "checks", "log",
        )  # fmt: skip
        predicate = encoding.members(top["predicate"], names, what="The predicate")
        if predicate["direction"] not in list(Direction):
            raise Malformed("The statement names an unknown direction.")
        log = encoding.members(predicate["log"], ("origin",), what="log")
        ids = {name: encoding.text(predicate[name], what=name) for name in names[:3]}
        reviewers = encoding.items(predicate["reviewers"], what="The reviewers", most=100)
        checks = encoding.items(predicate["checks"], what="The checks", most=1000)
        subjects = encoding.items(top["subject"], what="The files", least=1, most=MOST_FILES)
        statement = cls(
            **ids,
            direction=Direction(predicate["direction"]),
            released_at=encoding.moment(predicate["released_at"], what="released_at"),
            reviewers=tuple(encoding.text(reviewer, what="A reviewer") for reviewer in reviewers),
            policy_digest=encoding.hex32(predicate["policy_digest"], what="The policy digest"),
            checks=tuple(_check(check) for check in checks),
            origin=encoding.text(log["origin"], what="The origin"),
            files=tuple(parse_file(subject) for subject in subjects),
        )
        if statement.payload() != payload:
            raise Malformed("The statement is not in canonical form.")
        return statement


def statement_digest(payload: bytes) -> str:
    """Return what the audit leaf of a release commits to: SHA-256 of the statement, 64 hex digits."""
    return hashlib.sha256(payload).hexdigest()


def _check(value: Any) -> CheckSummary:
    fields = encoding.members(value, ("check", "verdict", "engine"), what="A check")
    return CheckSummary(**{name: encoding.text(fields[name], what=f"{name} of a check") for name in fields})


def parse_file(value: Any) -> ReleasedFile:
    """Read one subject of a statement strictly.

    Raises:
        Malformed: it has another form.
    """
    fields = encoding.members(value, ("name", "digest"), what="A file")
    digest = encoding.members(fields["digest"], ("sha256",), what="The digest of a file")
    return ReleasedFile(
        encoding.text(fields["name"], what="The name of a file"),
        encoding.hex32(digest["sha256"], what="The digest of a file"),
    )


def check_file_name(name: str) -> None:
    """Require a plain relative path.

    Raises:
        Malformed: it is none.
    """
    encoding.text(name, what="The name of a file")
    if "\\" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise Malformed("The name of a file is not a plain relative path.")
