"""How far a long transfer is: one line that is written over in a terminal, one line per file elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self

from rich.cells import set_cell_size

from broch.cli.output import plain, size

_WIDTH = 24
_EVERY_SECONDS = 0.1


class Progress:
    """Shows the progress of one file on stderr, apart from the result.

    Args:
        name: what is moving.
        total: bytes.
        done: bytes that are there already.
    """

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self._name = plain(name)
        self._total = total
        self._done = self._before = done
        self._began = time.monotonic()
        self._drawn = 0.0
        self._live = sys.stderr.isatty()

    def advance(self, count: int) -> None:
        """Note that `count` more bytes have moved."""
        self._done += count
        now = time.monotonic()
        if self._live and now - self._drawn >= _EVERY_SECONDS:
            self._drawn = now
            self._draw()

    def resume(self, done: int) -> None:
        """Note that `done` bytes are there, whatever was sent."""
        self._done = self._before = done
        self._began = time.monotonic()

    def _draw(self) -> None:
        part = self._done / self._total if self._total else 1.0
        rate = (self._done - self._before) / max(time.monotonic() - self._began, 0.001)
        bar = "#" * int(part * _WIDTH)
        line = f"{self._name}  [{bar:<{_WIDTH}}] {part:4.0%}  {size(int(rate))}/s"
        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r" + set_cell_size(line, room))
        sys.stderr.flush()

    def __enter__(self) -> Self:
        if self._live:
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._draw()
            sys.stderr.write("\n")
        elif kind is None:
            sys.stderr.write(f"{self._name}  {size(self._total)}\n")
        sys.stderr.flush()
