"""`./broch bench`: measure, compare with a baseline or a goal, print a table or a JSON object a line.

A benchmark is a file `benchmarks/bench_<name>.py` with `NAME` (`_` becomes `-`) and
`run() -> Iterable[Result]`. Results are printed as they come.
"""

import dataclasses
import importlib
import json
import math
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Result:
    """One measured number. The fields are the keys of the JSON line."""

    name: str
    """`benchmark/what was measured`, for example `api/rule and audit`."""
    value: float
    unit: str
    """`s`, `ms`, `1/s`, `MB/s`, ..."""
    baseline: float | None = None
    """The same thing without Broch, in the same unit."""
    ratio: float | None = None
    """value / baseline."""
    goal: str | None = None
    """What the value (`<= 12 s`) or the ratio (`>= 0.7x`) must be."""
    ok: bool = True
    """Whether the goal is met; true if there is none."""

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        for number in (self.value, self.baseline, self.ratio):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.name}: {number} is no result")

    @classmethod
    def measured(cls, name: str, value: float, unit: str) -> "Result":
        """Make a result that is only reported."""
        return cls(name, value, unit)

    @classmethod
    def at_most(cls, name: str, value: float, unit: str, limit: float) -> "Result":
        """Make a result whose goal is a value of at most `limit`, for times and sizes."""
        return cls(name, value, unit, goal=f"<= {limit:g} {unit}", ok=value <= limit)

    @classmethod
    def beside(cls, name: str, value: float, unit: str, *, baseline: float, at_least: float) -> "Result":
        """Make a result whose goal is a ratio to `baseline` of at least `at_least`, for rates (more is better)."""
        ratio = value / baseline
        return cls(name, value, unit, baseline, ratio, f">= {at_least:g}x", ratio >= at_least)

    def json(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    def row(self) -> str:
        """Return the result as one line for people."""
        value = (
            f"{self.value:,.3g} {self.unit}" if abs(self.value) < 1000 else f"{self.value:,.0f} {self.unit}"
        )
        beside = f"{self.ratio:.2f}x of {self.baseline:,.3g}" if self.ratio is not None else ""
        verdict = "" if self.goal is None else f"{'ok' if self.ok else 'MISSED'} ({self.goal})"
        return f"{self.name:<40} {value:>16}  {beside:<22} {verdict}".rstrip()


class UnknownBenchmark(ValueError):
    """A benchmark was asked for that does not exist, or whose file does not say its name."""


def discover(folder: Path) -> dict[str, Path]:
    """Return the benchmark files in `folder` by name; none is imported."""
    files = sorted(folder.glob("bench_*.py"))
    return {path.stem.removeprefix("bench_").replace("_", "-"): path for path in files}


def _results(name: str, path: Path) -> Iterable[Result]:
    for folder in (path.parent, path.parents[1] / "tests"):  # what they share, and what they share with tests
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module = importlib.import_module(path.stem)
    stated = module.NAME
    if stated != name:
        raise UnknownBenchmark(f"{path.name} must have NAME = {name!r}, not {stated!r}")
    results: Iterable[Result] = module.run()
    return results


def run(folder: Path, asked: Sequence[str], *, as_json: bool, strict: bool) -> int:
    """Run benchmarks and print their results; return the exit status.

    1 if a benchmark broke, and under `strict` also if a goal was missed.

    Raises:
        UnknownBenchmark: a name in `asked` is none.
    """
    found = discover(folder)
    unknown = [name for name in asked if name not in found]
    if unknown:
        raise UnknownBenchmark(
            f"no such benchmark: {', '.join(unknown)} (here are: {', '.join(found) or 'none'})"
        )
    broken = missed = False
    for name in asked or found:
        try:
            for result in _results(name, found[name]):
                missed |= not result.ok
                sys.stdout.write((result.json() if as_json else result.row()) + "\n")
                sys.stdout.flush()
        except Exception:  # noqa: BLE001 - one broken benchmark must not hide the results of the others
            broken = True
            sys.stderr.write(f"benchmark {name} broke:\n{traceback.format_exc()}")
    return 1 if broken or (strict and missed) else 0
