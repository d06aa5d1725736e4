"""What a sandbox may be asked for: one of two modules, bounded, with files and a job. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass

from broch_workspaces.sandbox.profile import Limits

CHECKS, RENDER = "checks", "render"
MODULES = {"broch_airlock.checks.inside": CHECKS, "broch_airlock.viewer.render.inside": RENDER}
"""All that may ever run in a sandbox, and what it is for."""
FILES_MOST = 1000
_CPU_SECONDS_MOST = 24 * 3600
_BYTES_MOST = 1 << 42


def limits_for(cpu_seconds: int) -> Limits:
    """Return the bounds of a module that parses what strangers wrote: no file of its own, 1 GiB, eight processes."""
    return Limits(data_bytes=1 << 30, processes=8, file_bytes=0, open_files=64, cpu_seconds=cpu_seconds)


@dataclass(frozen=True)
class Order:
    """The head of an order; the job itself is passed on unread."""

    module: str
    cpu_seconds: int
    sizes: tuple[int, ...]
    """Bytes of each input; they come to lie at `/in/0`, `/in/1` ..."""

    def __post_init__(self) -> None:
        """Refuse what no caller of ours asks for.

        Raises:
            ValueError: an unknown module, or a number out of bounds.
        """
        if self.module not in MODULES:
            raise ValueError("no such module may run in a sandbox")
        if not 1 <= self.cpu_seconds <= _CPU_SECONDS_MOST:
            raise ValueError("the processor time is out of bounds")
        if len(self.sizes) > FILES_MOST or any(not 0 <= size <= _BYTES_MOST for size in self.sizes):
            raise ValueError("there are too many inputs, or they are too large")

    @property
    def kind(self) -> str:
        """`checks` or `render`."""
        return MODULES[self.module]

    @property
    def total(self) -> int:
        """Bytes of all inputs together."""
        return sum(self.sizes)

    def encode(self) -> bytes:
        """Return the payload of a frame `J`."""
        return json.dumps(
            {"module": self.module, "cpu_seconds": self.cpu_seconds, "sizes": list(self.sizes)}
        ).encode()

    @classmethod
    def parse(cls, payload: bytes) -> Order:
        """Read the payload of a frame `J`.

        Raises:
            ValueError: it is no order.
        """
        try:
            value = json.loads(payload)
        except RecursionError:
            raise ValueError("an order is not that deep") from None
        if not isinstance(value, dict) or set(value) != {"module", "cpu_seconds", "sizes"}:
            raise ValueError("an order has a module, processor time and sizes")
        module, cpu_seconds, sizes = value["module"], value["cpu_seconds"], value["sizes"]
        if not isinstance(module, str) or not isinstance(sizes, list):
            raise ValueError("an order of the wrong types")  # noqa: TRY004 - one error for all that is no order
        if any(type(number) is not int for number in (cpu_seconds, *sizes)):
            raise ValueError("an order of the wrong types")
        return cls(module, cpu_seconds, tuple(sizes))
