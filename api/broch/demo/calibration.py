"""Do predicted risks come true? A script that a researcher brings in through the airlock.

It needs nothing but Python, and gives nothing but aggregates: bands are merged until each holds at least
`minimum` people, and counts are rounded. Use it from a notebook, or on a CSV file with columns
`outcome` (0 or 1) and `risk` (0 to 1):

    python calibration.py predictions.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple


class Band(NamedTuple):
    """People with similar predicted risk: what was predicted for them, and what happened."""

    n: int
    """People, rounded to 5."""
    predicted: float
    """Mean predicted risk, two decimals."""
    observed: float
    """Share with the outcome, two decimals."""


def round_count(n: int, base: int = 5) -> int:
    """Return `n` rounded to the nearest `base`, so that two tables cannot be subtracted to find one person."""
    return base * ((n + base // 2) // base)


def brier(outcome: Sequence[int], risk: Sequence[float]) -> float:
    """Return the mean squared error of the predicted risks (Brier, 1950): 0 is perfect, 0.25 is a coin.

    Raises:
        ValueError: the lists are empty or of different length.
    """
    pairs = _pairs(outcome, risk)
    return sum((p - y) ** 2 for p, y in pairs) / len(pairs)


def bands(outcome: Sequence[int], risk: Sequence[float], *, wanted: int = 5, minimum: int = 10) -> list[Band]:
    """Return calibration in up to `wanted` equal bands of predicted risk, each with at least `minimum` people.

    Raises:
        ValueError: the lists are empty or of different length, or hold fewer than `minimum` people.
    """
    pairs = sorted(_pairs(outcome, risk), key=itemgetter(0))
    if len(pairs) < minimum:
        raise ValueError(f"{len(pairs)} people are too few: a band needs at least {minimum}.")
    groups: list[list[tuple[float, int]]] = [[]]
    for index, pair in enumerate(pairs):
        due = len(groups) * len(pairs) <= index * wanted
        tied = index > 0 and pair[0] == pairs[index - 1][0]  # the same risk belongs in the same band
        if due and not tied and len(groups[-1]) >= minimum:
            groups.append([])
        groups[-1].append(pair)
    if len(groups) > 1 and len(groups[-1]) < minimum:
        last = groups.pop()
        groups[-1].extend(last)
    return [_band(group) for group in groups]


def _pairs(outcome: Sequence[int], risk: Sequence[float]) -> list[tuple[float, int]]:
    if not outcome or len(outcome) != len(risk):
        raise ValueError("Outcomes and risks must be two lists of the same length, not empty.")
    return list(zip(map(float, risk), map(int, outcome), strict=True))


def _band(group: list[tuple[float, int]]) -> Band:
    size = len(group)
    return Band(
        n=round_count(size),
        predicted=round(sum(p for p, _ in group) / size, 2),
        observed=round(sum(y for _, y in group) / size, 2),
    )


def main(arguments: Sequence[str]) -> int:
    """Print the bands of one CSV file as CSV."""
    if len(arguments) != 1:
        sys.stderr.write("usage: calibration.py PREDICTIONS.csv\n")
        return 2
    with Path(arguments[0]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = bands([int(row["outcome"]) for row in rows], [float(row["risk"]) for row in rows])
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Band._fields)
    writer.writerows(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
