"""How a command ends when it cannot do what was asked: one line that says why and what to do."""

from __future__ import annotations

from typing import ClassVar

REFUSED = 1
USAGE = 2
UNREACHABLE = 3


class Failure(Exception):
    """The command cannot do what was asked.

    Args:
        message: why, as a sentence.
        remedy: what to do about it, as a sentence.
    """

    code: ClassVar[int] = REFUSED

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def line(self) -> str:
        """Return message and remedy as one line that is safe for a terminal."""
        text = " ".join(f"{self.message} {self.remedy or ''}".split())
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Misused(Failure):
    """The words of the command line do not fit."""

    code = USAGE


class Unreachable(Failure):
    """No Broch answers at the address."""

    code = UNREACHABLE


class Refused(Failure):
    """The server said no (RFC 9457)."""

    def __init__(self, message: str, remedy: str | None, *, status: int, kind: str) -> None:
        super().__init__(message, remedy)
        self.status = status
        self.kind = kind
