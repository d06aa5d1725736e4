"""Deletion certificates: built like receipts, and checked offline in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from broch_core.proof.deletion import DELETION_ACTION, DeletionStatement
from broch_core.proof.dsse import Envelope, verify_envelope
from broch_core.proof.errors import BadSignature
from broch_core.proof.receipt import Receipt, assemble, check_leaf
from broch_core.proof.trust import TrustFile, write_moment
from broch_core.proof.verification import (
    Failed,
    Outcome,
    Steps,
    VerificationReport,
    checkpoint_of,
    inclusion_in,
    shown,
)

CERTIFICATE_TYPE = "application/vnd.broch.deletion.v1+json"


def is_certificate(data: bytes) -> bool:
    """Tell whether bytes call themselves a deletion certificate; whether they are one is for the verifier."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("mediaType") == CERTIFICATE_TYPE


def build_certificate(
    envelope: Envelope, leaf: bytes, *, index: int, hashes: Sequence[bytes], checkpoint: str
) -> bytes:
    """Put a certificate together and check that its parts belong to each other; see `build_receipt`.

    Raises:
        Malformed: a part has not its form, or the leaf records another deletion.
        InvalidProof: the leaf is not shown to be in the log.
    """
    statement = DeletionStatement.parse(envelope.payload)
    check_leaf(leaf, statement, envelope.payload, DELETION_ACTION)
    return assemble(
        CERTIFICATE_TYPE, statement, envelope, leaf, index=index, hashes=hashes, checkpoint=checkpoint
    )


def verify_certificate(certificate: bytes, files: Mapping[str, str], trust: TrustFile) -> VerificationReport:
    """Check a deletion certificate.

    Args:
        certificate: the bytes of `certificate.json`.
        files: path of each file at hand, and the SHA-256 of its bytes: copies kept elsewhere, whose digests are
            looked for among those that were deleted. May be empty.
        trust: the keys to believe, from elsewhere than the certificate.

    Returns:
        The steps; `report.ok` is the answer. Never raises for what a certificate may hold.
    """
    steps = Steps()
    try:
        parsed = steps.take(
            "certificate",
            lambda: (
                Receipt.parse(certificate, CERTIFICATE_TYPE),
                "it has the form of a Broch deletion certificate",
            ),
        )
        statement = steps.take("signature", lambda: _signed_statement(parsed, trust))
        steps.take("audit record", lambda: _leaf(parsed, statement))
        head = steps.take("checkpoint", lambda: checkpoint_of(parsed.checkpoint, statement.deleted_at, trust))
        steps.take("inclusion", lambda: inclusion_in(parsed, head))
        _say_what(steps, statement, files)
    except Failed:
        pass
    return VerificationReport(tuple(steps.done), about_files=False)


def _signed_statement(parsed: Receipt, trust: TrustFile) -> tuple[DeletionStatement, str]:
    signed = verify_envelope(parsed.envelope, trust.keys)
    statement = DeletionStatement.parse(parsed.envelope.payload)
    at = write_moment(statement.deleted_at)
    if statement.origin != trust.origin:
        raise BadSignature(
            f"The statement belongs to the log {statement.origin}; the trust file is for {trust.origin}."
        )
    for key in signed:
        if not key.valid_at(statement.deleted_at):
            raise BadSignature(f"Key {key.key_id[:16]} was not valid at {at}, when the files were deleted.")
    said = (
        f"the statement of deletion {statement.deletion_id} of {at} is signed by key {signed[0].key_id[:16]}"
    )
    return statement, said


def _leaf(parsed: Receipt, statement: DeletionStatement) -> tuple[None, str]:
    check_leaf(parsed.leaf, statement, parsed.envelope.payload, DELETION_ACTION)
    return None, "the audit log's record of this deletion commits to the statement"


def _say_what(steps: Steps, statement: DeletionStatement, files: Mapping[str, str]) -> None:
    at = write_moment(statement.deleted_at)
    for file in statement.files:
        steps.add(
            f"deleted {file.name}",
            Outcome.OK,
            f"Broch deleted its {statement.storage_class} bytes at {at}: sha256 {file.sha256}",
        )
    for digest in statement.kept:
        steps.add("kept", Outcome.NOT_CHECKED, f"another request holds these bytes too: sha256 {digest}")
    deleted = {file.sha256: file.name for file in statement.files}
    for path, digest in files.items():
        if digest in deleted:
            reason = f"it is a copy of {deleted[digest]}, whose bytes Broch deleted"
            steps.add(f"file {shown(path)}", Outcome.OK, reason)
        else:
            steps.add(
                f"file {shown(path)}", Outcome.FAILED, "its bytes are not among those that were deleted"
            )
