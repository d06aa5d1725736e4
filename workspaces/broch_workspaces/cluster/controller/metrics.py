"""Counters of the controller, in the text format that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds: from a zone that needs nothing to one that is made on a busy cluster."""


class Metrics:
    """What is counted while the controller runs."""

    def __init__(self) -> None:
        self.watch_restarts: Counter[str] = Counter()
        """By kind: how often a watch broke."""
        self.writes: Counter[str] = Counter()
        """By verb."""
        self.failures: Counter[str] = Counter()
        """Reconciles that went wrong: `temporary`, `permanent`, `bug`."""
        self.polls_failed = 0
        self._buckets: Counter[float] = Counter()
        self._reconciles = 0
        self._seconds = 0.0

    def reconciled(self, seconds: float) -> None:
        """Count one reconcile."""
        self._reconciles += 1
        self._seconds += seconds
        for bound in BUCKETS:
            if seconds <= bound:
                self._buckets[bound] += 1

    def text(self, *, phases: Counter[str], gauges: dict[str, float]) -> str:
        """Return everything, with what others know at this moment."""
        lines: list[str] = []
        for name, value in gauges.items():
            lines += _family(f"broch_controller_{name}", "gauge", [("", value)])
        lines += _family(
            "broch_zones", "gauge", [(f'{{phase="{key}"}}', n) for key, n in sorted(phases.items())]
        )
        lines += _labelled("broch_controller_watch_restarts_total", "kind", self.watch_restarts)
        lines += _labelled("broch_controller_writes_total", "verb", self.writes)
        lines += _labelled("broch_controller_failures_total", "sort", self.failures)
        lines += _family("broch_controller_polls_failed_total", "counter", [("", self.polls_failed)])
        name = "broch_controller_reconcile_seconds"
        lines += _family(
            name,
            "histogram",
            [
                *((f'_bucket{{le="{bound}"}}', self._buckets[bound]) for bound in BUCKETS),
                ('_bucket{le="+Inf"}', self._reconciles),
                ("_sum", self._seconds),
                ("_count", self._reconciles),
            ],
        )
        return "\n".join(lines) + "\n"


def _labelled(name: str, label: str, counts: Counter[str]) -> list[str]:
    return _family(name, "counter", [(f'{{{label}="{key}"}}', n) for key, n in sorted(counts.items())])


def _family(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [f"# TYPE {name} {kind}", *(f"{name}{suffix} {value:g}" for suffix, value in samples)]
