"""What `broch verify` does: read the files in constant memory, check, say it in lines of text."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from broch_core.proof.certificate import is_certificate, verify_certificate
from broch_core.proof.errors import Malformed
from broch_core.proof.notes import NOTE_LIMIT
from broch_core.proof.recalls import RECALLS_LIMIT
from broch_core.proof.receipt import RECEIPT_LIMIT
from broch_core.proof.trust import TRUST_LIMIT, TrustFile
from broch_core.proof.verification import Newer, shown, verify_receipt

VERIFIED = 0
NOT_VERIFIED = 1
UNUSABLE = 2
CHUNK = 1 << 20
"""Bytes of a file in memory at once."""


def run_verify(
    trust_path: Path,
    receipt_path: Path,
    file_paths: Sequence[Path],
    *,
    newer_checkpoint: Path | None = None,
    recalls_path: Path | None = None,
) -> tuple[int, list[str]]:
    """Check files against a receipt, or a deletion certificate; touches nothing but the paths named.

    Args:
        trust_path: the trust file, obtained from elsewhere than the receipt.
        receipt_path: `receipt.json` or `certificate.json`.
        file_paths: released files, at least one; copies of deleted files, or none, with a certificate.
        newer_checkpoint: a signed checkpoint, newer than the one in the receipt.
        recalls_path: a signed list of recalls.

    Returns:
        The exit code (0 verified, 1 not verified, 2 input that cannot be used) and the lines to print.
    """
    try:
        receipt = _read(receipt_path, RECEIPT_LIMIT)
        certificate = is_certificate(receipt)
        if certificate and (newer_checkpoint is not None or recalls_path is not None):
            return UNUSABLE, ["A deletion is not recalled: leave --newer and --recalls away."]
        if not certificate and not file_paths:
            return UNUSABLE, ["Nothing to check: name at least one released file."]
        trust = TrustFile.parse(_read(trust_path, TRUST_LIMIT))
        newer = None
        if newer_checkpoint is not None:
            newer = Newer(_text(_read(newer_checkpoint, NOTE_LIMIT)))
        recalls = None if recalls_path is None else _read(recalls_path, RECALLS_LIMIT)
        files = {str(path): _sha256(path) for path in file_paths}
    except (OSError, Malformed) as error:
        return UNUSABLE, [f"Cannot check: {_reason(error)}"]
    if certificate:
        report = verify_certificate(receipt, files, trust)
    else:
        report = verify_receipt(receipt, files, trust, newer=newer, recalls=recalls)
    lines = [shown(str(step)) for step in report.steps]
    if report.ok:
        return VERIFIED, [*lines, "VERIFIED"]
    return NOT_VERIFIED, [*lines, "NOT VERIFIED"]


def _reason(error: OSError | Malformed) -> str:
    if isinstance(error, OSError):
        return f"{shown(str(error.filename))}: {error.strerror}."
    return shown(str(error))


def _open(path: Path) -> int:
    # O_NONBLOCK: a named pipe must not hold us up before we see that it is one.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Malformed(f"{shown(str(path))} is not a plain file.")
    return descriptor


def _read(path: Path, limit: int) -> bytes:
    with os.fdopen(_open(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Malformed(f"{shown(str(path))} is larger than {limit} bytes.")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeError as error:
        raise Malformed("The newer checkpoint is not UTF-8 text.") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(_open(path), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
