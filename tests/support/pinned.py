"""A clock, a disk and sources of ids and random tokens that give the same every time, so that two answers compare byte by byte."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest
from ulid import ULID

from broch_core import clock, ids


class Pinned:
    """What time it is, and what comes next."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._counts = itertools.count()

    def set(self, at: datetime) -> None:
        """Make it this time, and begin the ids and tokens anew."""
        self._at, self._counts = at, itertools.count()

    def now(self, _zone: tzinfo | None = None) -> datetime:
        """Stand in for `datetime.now`: a microsecond later at each call, so that order is kept."""
        self._at += timedelta(microseconds=1)
        return self._at

    def ulid(self) -> ULID:
        """Stand in for `ULID()`."""
        return ULID.from_bytes(ULID.from_datetime(self._at).bytes[:6] + self._bytes(10))

    def urlsafe(self, size: int = 32) -> str:
        """Stand in for `secrets.token_urlsafe` and `token_hex`."""
        return self._bytes(size).hex()

    def _bytes(self, size: int) -> bytes:
        return hashlib.shake_256(f"{self._at} {next(self._counts)}".encode()).digest(size)


@contextmanager
def pinned() -> Iterator[Pinned]:
    """Pin the clock, the ids and the tokens of this process."""
    pin = Pinned(datetime.now(UTC))
    moment: Any = type("PinnedDatetime", (datetime,), {"now": staticmethod(pin.now)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "datetime", moment)
        patch.setattr(ids, "ULID", pin.ulid)
        patch.setattr(secrets, "token_urlsafe", pin.urlsafe)
        patch.setattr(secrets, "token_hex", pin.urlsafe)
        patch.setattr(
            shutil, "disk_usage", lambda _path: SimpleNamespace(total=1 << 40, used=0, free=1 << 40)
        )
        yield pin
