"""Naming bytes by their digest, so that nobody agrees to bytes that came in between."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from broch.cli.failure import Failure, Misused

_DIGEST = re.compile(r"[0-9a-f]{32,64}")
"""128 bits of a SHA-256: other bytes that begin like them cannot be looked for; those of 12 digits (2^48) can."""


def checked(text: str) -> str:
    """Return a SHA-256 or its beginning as the server writes it.

    Raises:
        Misused: it is none, or too short to mean one file only.
    """
    named = text.strip().lower()
    if not _DIGEST.fullmatch(named):
        raise Misused(f"'{text}' is no digest.", "Give at least the first 32 of its hexadecimal digits.")
    return named


def require_all(files: Sequence[Mapping[str, Any]], named: Sequence[str]) -> None:
    """Require that each file is named by a digest, and that each digest names a file.

    Raises:
        Failure: a file has other bytes than any that were named, or a digest is that of no file.
    """
    for row in files:
        if not any(row["sha256"].startswith(digest) for digest in named):
            raise Failure(
                f"'{row['name']}' has the digest {row['sha256']}, which you did not name.",
                "Look at it again.",
            )
    for digest in named:
        if not any(row["sha256"].startswith(digest) for row in files):
            raise Failure(f"No file has the digest {digest}.", "Look at the files again.")
