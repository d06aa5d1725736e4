"""The policy of checks: how much is looked at, and what must be answered."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from broch_airlock.checks.model import Limits

CLAMD_LARGEST = (2 << 30) - 1
"""Bytes. clamd cannot scan more in one piece (clamd.conf(5), MaxFileSize)."""
REQUIRED_CHECKS = ("archive_limits", "content_type", "malware", "path_hygiene", "size")


class Policy(BaseModel):
    """Limits of the checks. Its digest stands in every release record."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = 1
    """Meaning of the fields below."""
    max_file_bytes: int = Field(default=CLAMD_LARGEST, gt=0, le=CLAMD_LARGEST)
    """Largest file, and largest member of an archive, bytes. Larger is `unscannable`: clamd calls it OK unseen."""
    max_archive_depth: int = Field(default=8, ge=1, le=12)
    """Containers inside containers. 8: real deliveries have 2 or 3; clamd's own recursion ends at 17."""
    max_members: int = Field(default=10_000, ge=1, le=100_000)
    """Members of one file, all levels together. 10,000: more cannot be reviewed, and clamd stops near there."""
    max_expanded_bytes: int = Field(default=8 << 30, gt=0)
    """All members of one file together, bytes. 8 GiB: four times the largest file."""
    max_ratio: int = Field(default=200, ge=10)
    """Expanded bytes for each stored byte, counted above 64 MiB expanded. Text packs 10 to 100 times, bombs 1000."""
    max_held_bytes: int = Field(default=384 << 20, gt=0, le=512 << 20)
    """Nested archives and documents that must be held in memory to be read, together, bytes."""
    max_document_bytes: int = Field(default=48 << 20, gt=0, le=64 << 20)
    """Largest notebook or encoded part that is decoded, bytes. Parsing takes some ten times as much memory."""
    required_checks: tuple[str, ...] = REQUIRED_CHECKS
    """Checks without whose answer a file has the verdict `error`."""
    max_signature_age: timedelta = timedelta(days=2)
    """Older virus signatures make every file `unscannable`. Two days: freshclam's daily run may fail once."""
    request_seconds: int = Field(default=600, ge=1)
    """Wall-clock seconds for all files of one request, beside what their size needs; then `error`."""
    slowest_bytes_per_second: int = Field(default=20 << 20, ge=1)
    """Adds time for large requests. 20 MiB/s: a slow disk and a busy clamd."""
    scan_seconds: int = Field(default=300, ge=1)
    """Seconds that clamd may think about one piece."""

    def digest(self) -> str:
        """Return the SHA-256 (hex) over the canonical JSON (RFC 8785) of this policy."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()

    def seconds_for(self, size: int) -> float:
        """Return how long the checks of a request of this many bytes may take."""
        return self.request_seconds + size / self.slowest_bytes_per_second

    def limits(self) -> Limits:
        """Return what the sandbox needs to know."""
        return Limits.of(self.model_dump())
