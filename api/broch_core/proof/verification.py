"""Checking a receipt against files and a trust file: a list of steps in plain English. Needs no server, no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import TypeVar

from broch_core.proof.attestation import ReleasedFile, ReleaseStatement
from broch_core.proof.dsse import verify_envelope
from broch_core.proof.errors import BadSignature, InvalidProof, ProofError, Recalled
from broch_core.proof.merkle import leaf_hash, verify_consistency, verify_inclusion
from broch_core.proof.notes import Checkpoint, verify_checkpoint
from broch_core.proof.recalls import RecallList
from broch_core.proof.receipt import Receipt, check_leaf
from broch_core.proof.trust import Purpose, TrustFile, write_moment

T = TypeVar("T")


class Outcome(StrEnum):
    """What came of a step."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Step:
    """One thing that was looked at: what, what came of it, why."""

    name: str
    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        return f"{self.outcome:<11}  {self.name}: {self.reason}"


@dataclass(frozen=True)
class VerificationReport:
    """All steps in their order. A failed step ends the list, but of the files each gets its own."""

    steps: tuple[Step, ...]
    about_files: bool = True
    """What is proved is about files at hand: without one there is no yes."""

    @property
    def ok(self) -> bool:
        """Whether no step failed and, where it is about files, at least one is shown to be what was released."""
        files = not self.about_files or any(
            step.name.startswith("file ") and step.outcome is Outcome.OK for step in self.steps
        )
        return files and all(step.outcome is not Outcome.FAILED for step in self.steps)


@dataclass(frozen=True)
class Newer:
    """A newer checkpoint of the same log, and the proof that it continues the one in the receipt."""

    checkpoint: str
    consistency: tuple[bytes, ...] | None = None


class Failed(Exception):
    """A step failed; the ones after it would rest on it."""


class Steps:
    """Steps as they are taken."""

    def __init__(self) -> None:
        self.done: list[Step] = []

    def add(self, name: str, outcome: Outcome, reason: str) -> None:
        """Note what came of a step."""
        self.done.append(Step(name, outcome, reason))

    def take(self, name: str, check: Callable[[], tuple[T, str]]) -> T:
        """Take a step that the next ones rest on; return what it found.

        Raises:
            Failed: it failed.
        """
        try:
            value, reason = check()
        except ProofError as error:
            self.add(name, Outcome.FAILED, str(error))
            raise Failed from error
        self.add(name, Outcome.OK, reason)
        return value


def verify_receipt(
    receipt: bytes,
    files: Mapping[str, str],
    trust: TrustFile,
    *,
    newer: Newer | None = None,
    recalls: bytes | None = None,
) -> VerificationReport:
    """Check a receipt, and that files are what it says was released.

    Args:
        receipt: the bytes of `receipt.json`.
        files: path of each file at hand, and the SHA-256 of its bytes in 64 lower-case hex digits. A path stands for
            the released file whose name it ends with, folder by folder.
        trust: the keys to believe, from elsewhere than the receipt.
        newer: a newer checkpoint, if one is at hand.
        recalls: the bytes of `recalls.json`, if they are at hand; a release that is named there is not verified.

    Returns:
        The steps; `report.ok` is the answer. Never raises for what a receipt may hold.
    """
    steps = Steps()
    try:
        parsed = steps.take("receipt", lambda: (Receipt.parse(receipt), "it has the form of a Broch receipt"))
        statement = steps.take("signature", lambda: _signed_statement(parsed, trust))
        steps.take("reviewers", lambda: (None, _reviewers(statement)))
        steps.take("audit record", lambda: _leaf(parsed, statement))
        head = steps.take(
            "checkpoint", lambda: checkpoint_of(parsed.checkpoint, statement.released_at, trust)
        )
        steps.take("inclusion", lambda: inclusion_in(parsed, head))
        _files(steps, statement.files, files)
        if newer is not None:
            steps.take("newer checkpoint", lambda: _newer(newer, head, statement, trust))
        if recalls is None:
            steps.add("recall", Outcome.NOT_CHECKED, _recall(head, newer))
        else:
            steps.take("recall", lambda: (None, _not_recalled(recalls, statement, trust)))
    except Failed:
        pass
    return VerificationReport(tuple(steps.done))


def _signed_statement(receipt: Receipt, trust: TrustFile) -> tuple[ReleaseStatement, str]:
    signed = verify_envelope(receipt.envelope, trust.keys)
    statement = ReleaseStatement.parse(receipt.envelope.payload)
    at = write_moment(statement.released_at)
    if statement.origin != trust.origin:
        raise BadSignature(
            f"The statement belongs to the log {statement.origin}; the trust file is for {trust.origin}."
        )
    for key in signed:
        if not key.valid_at(statement.released_at):
            raise BadSignature(f"Key {key.key_id[:16]} was not valid at {at}, when the files were released.")
    return (
        statement,
        f"the statement of release {statement.release_id} of {at} is signed by key {signed[0].key_id[:16]}",
    )


def _reviewers(statement: ReleaseStatement) -> str:
    if not statement.reviewers:
        return f"this {statement.direction} was let through by policy, without review"
    return f"{len(statement.reviewers)} different reviewers agreed to this {statement.direction}"


def _leaf(receipt: Receipt, statement: ReleaseStatement) -> tuple[None, str]:
    check_leaf(receipt.leaf, statement, receipt.envelope.payload)
    return None, "the audit log's record of this release commits to the statement"


def checkpoint_of(note: str, at: datetime, trust: TrustFile) -> tuple[Checkpoint, str]:
    """Return the head of the log that a trusted key signed after `at`, and a sentence about it.

    Raises:
        ProofError: no such key signed it.
    """
    head, signed = verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))
    for key in signed:
        # A checkpoint carries no time. It was signed after the event, so its key had not ended before that; it may
        # have begun later, when the receipt was made again after a rotation.
        if key.not_after is not None and key.not_after <= at:
            raise BadSignature(
                f"The checkpoint is signed with key {key.key_id[:16]}, which had ended before that."
            )
    return head, f"the log {head.origin} with {head.size} records is signed by key {signed[0].key_id[:16]}"


def inclusion_in(receipt: Receipt, head: Checkpoint) -> tuple[None, str]:
    """Show that the leaf is in the log of that head; return a sentence about it.

    Raises:
        InvalidProof: it is not shown.
    """
    if receipt.size != head.size:
        raise InvalidProof(
            f"The proof is for a log of {receipt.size} records, the checkpoint for one of {head.size}."
        )
    verify_inclusion(leaf_hash(receipt.leaf), receipt.index, head.size, receipt.hashes, head.root)
    return None, f"it is record {receipt.index} of that log"


def _newer(newer: Newer, head: Checkpoint, statement: ReleaseStatement, trust: TrustFile) -> tuple[None, str]:
    later, reason = checkpoint_of(newer.checkpoint, statement.released_at, trust)
    if later.size < head.size:
        raise InvalidProof("The checkpoint given as newer is older than the one in the receipt.")
    if newer.consistency is not None or later.size == head.size:
        verify_consistency(head.size, later.size, head.root, later.root, newer.consistency or ())
        return None, f"{reason}; it continues the log of the receipt"
    return None, f"{reason}; without a consistency proof it does not show that the log was continued"


def _recall(head: Checkpoint, newer: Newer | None) -> str:
    if newer is None:
        return "recall not checked: that takes a newer checkpoint of the log"
    return f"recall not checked: a checkpoint does not say what the records after {head.size} are; ask who released the files"


def _not_recalled(data: bytes, statement: ReleaseStatement, trust: TrustFile) -> str:
    listed = RecallList.parse(data, trust)
    at = listed.recalls.get(statement.release_id)
    if at is not None:
        raise Recalled(f"this release was recalled at {write_moment(at)}: do not use its files")
    made = write_moment(listed.at)
    if listed.at < statement.released_at:
        raise InvalidProof(f"The list of recalls of {made} is older than the release.")
    return f"not recalled up to {made}, by the signed list of that time"


def _files(steps: Steps, released: Sequence[ReleasedFile], given: Mapping[str, str]) -> None:
    if not given:
        steps.add("files", Outcome.FAILED, "no file was given to check")
    met: set[str] = set()
    for path, digest in given.items():
        named = sorted(
            (file for file in released if _stands_for(path, file.name)), key=lambda file: -len(file.name)
        )
        same = next((file for file in named if file.sha256 == digest), None)
        if same is not None:
            met.add(same.name)
            steps.add(
                f"file {same.name}", Outcome.OK, f"the bytes are those that were released: sha256 {digest}"
            )
        elif named:
            met.add(named[0].name)
            reason = (
                f"the bytes differ from what was released: sha256 {named[0].sha256} expected, {digest} found"
            )
            steps.add(f"file {named[0].name}", Outcome.FAILED, reason)
        else:
            steps.add(f"file {shown(path)}", Outcome.FAILED, _stranger(digest, released))
    for file in released:
        if file.name not in met:
            steps.add(f"file {file.name}", Outcome.NOT_CHECKED, "not given, not checked")


def _stands_for(path: str, name: str) -> bool:
    wanted = tuple(name.split("/"))
    return PurePath(path).parts[-len(wanted) :] == wanted


def _stranger(digest: str, released: Sequence[ReleasedFile]) -> str:
    twin = next((file.name for file in released if file.sha256 == digest), None)
    if twin is not None:
        return f"no file of this name was released; the bytes are those of {twin}: give it that name"
    return "no file of this name was released with this receipt"


def shown(path: str) -> str:
    """Return a path as it may go to a terminal: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in path)
