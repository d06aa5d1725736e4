"""What a component shows the cluster's own eyes: that it lives, and what it counts, in the text that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar

from aiohttp import web

_KEEP_SECONDS = 10.0
"""How long a connection may idle."""


class OwnCounts:
    """Counters with one label each. Labels are words of ours: nothing that a zone says becomes one."""

    _PREFIX: ClassVar[str]
    """Of the names of all metrics, such as `broch_gateway`."""
    _HELP: ClassVar[Mapping[str, tuple[str, str]]]
    """By counter: the name of its label, and what it counts."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, label: str, number: int = 1) -> None:
        """Count."""
        self._counts[name, label] += number

    def of(self, name: str, label: str) -> int:
        """Return a count."""
        return self._counts[name, label]

    def _text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return all of them, after what is measured now: by name what it is, and its value."""
        lines = []
        for name, (text, value) in gauges.items():
            metric = f"{self._PREFIX}_{name}"
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge", f"{metric} {value}"]
        for name, (label, text) in self._HELP.items():
            metric = f"{self._PREFIX}_{name}_total"
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} counter"]
            lines += [
                f'{metric}{{{label}="{value}"}} {count}'
                for (kind, value), count in sorted(self._counts.items())
                if kind == name
            ]
        return "\n".join(lines) + "\n"


def own_pages(metrics: Callable[[], str]) -> web.Server:
    """Return what answers `/healthz` and `/metrics`, and nothing else.

    Args:
        metrics: returns the text of the second.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.raw_path == "/healthz":
            return web.Response(text="ok\n")
        if request.method == "GET" and request.raw_path == "/metrics":
            return web.Response(text=metrics())
        return web.Response(status=404, text="There is nothing here.\n")

    return web.Server(handle, access_log=None, keepalive_timeout=_KEEP_SECONDS)
