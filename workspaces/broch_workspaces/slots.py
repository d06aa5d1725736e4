"""How many requests may be under way at once: by each key, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Full(Exception):
    """No place is free; the text names which limit."""


class Slots:
    """Counts what is under way.

    Args:
        total: most in all.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._all = 0
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are under way."""
        return self._all

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count one in all for the time of a `with` block.

        Raises:
            Full: there are as many as may be.
        """
        if self._all >= self._total:
            raise Full("all")
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1

    @contextmanager
    def hold_for(self, limits: Mapping[str, int]) -> Iterator[None]:
        """Count one for each key, such as a pod and its zone, unless one of them has as many as it may.

        Raises:
            Full: one has.
        """
        for key, limit in limits.items():
            if self._taken[key] >= limit:
                raise Full(key.partition(":")[0])
        self._taken.update(limits.keys())
        try:
            yield
        finally:
            for key in limits:
                self._taken[key] -= 1
                if not self._taken[key]:
                    del self._taken[key]
