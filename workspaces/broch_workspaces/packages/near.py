"""Names that look like listed ones: which somebody may have meant, and which may be taken for another. Pure.

Only names that may be fetched are suggested: a hint that led to another package would do the typosquatter's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from broch_workspaces.packages.spec import Ecosystem

_CONFUSED: Mapping[tuple[Ecosystem, str], str] = {
    (Ecosystem.PYPI, "attr"): "attrs",
    (Ecosystem.PYPI, "bs4"): "beautifulsoup4",
    (Ecosystem.PYPI, "crypto"): "pycryptodome",
    (Ecosystem.PYPI, "cv2"): "opencv-python",
    (Ecosystem.PYPI, "dateutil"): "python-dateutil",
    (Ecosystem.PYPI, "dotenv"): "python-dotenv",
    (Ecosystem.PYPI, "pil"): "pillow",
    (Ecosystem.PYPI, "pytorch"): "torch",
    (Ecosystem.PYPI, "serial"): "pyserial",
    (Ecosystem.PYPI, "skimage"): "scikit-image",
    (Ecosystem.PYPI, "sklearn"): "scikit-learn",
    (Ecosystem.PYPI, "yaml"): "pyyaml",
    (Ecosystem.CONDA, "torch"): "pytorch",
    (Ecosystem.CONDA, "cv2"): "opencv",
    (Ecosystem.CONDA, "sklearn"): "scikit-learn",
}
"""Names of modules, or of the same thing elsewhere, that people take for the package's."""
_SHORT = 4
"""Up to so many letters somebody meant a name only by one change: nearly everything is within two of `six`."""
_SHORTEST = 4
"""Letters that a name needs to be warned of for one change: of shorter ones everything looks like everything."""
_LONGEST = 100
"""Characters; longer names are nobody's slip."""
_LOOKALIKES = str.maketrans({"0": "o", "1": "l", "-": None, "_": None, ".": None, "/": None, "@": None})
_AFFIXES = ("python", "py", "r", "js", "node", "lib")


class NearNames:
    """Listed names, to find those that another one is near to.

    A hint to who was refused reaches further than a warning to who decides: there a wrong guess costs nothing, here
    one in a lock file of a thousand names teaches people not to look.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)

    def knows(self, name: str) -> bool:
        """Tell whether a name is one of the listed."""
        return name in self._listed

    def of(self, name: str, most: int = 3) -> list[str]:
        """Return listed names that this one may be taken for, the nearest first; none for one that is listed itself.

        It is one slip away as the eye reads it: a letter more, fewer, other, or two in the wrong order. Looked up by
        what neighbours have in common, so that a whole lock file takes no longer than reading it.
        """
        if name in self._listed or len(name) > _LONGEST:
            return []
        asked = _shape(name)
        near = {one for form in _forms(asked.seen) for one in self._by_form.get(form, ())}
        steps = {one: distance(asked.seen, _shape(one).seen, 1) for one in near}
        return sorted((one for one in near if steps[one] <= 1), key=lambda one: (steps[one], one))[:most]

    def meant(self, ecosystem: Ecosystem, name: str, most: int = 2) -> tuple[str, ...]:
        """Return listed names that somebody may have meant by one that is not, the nearest first.

        Args:
            ecosystem: of all of them.
            name: what was asked for, canonical.
            most: how many to return at most.
        """
        if len(name) > _LONGEST:
            return ()
        confused = _CONFUSED.get((ecosystem, name))
        asked = _shape(name)
        limit = 1 if len(name) <= _SHORT else 2
        found: list[tuple[int, str]] = []
        for one in self._listed:
            if one == name:
                continue
            other = _shape(one)
            if one == confused or other.bare == asked.bare:
                found.append((0, one))
            # One change adds and takes away one letter at most, so who shares too few letters needs no closer look.
            elif (asked.letters ^ other.letters).bit_count() <= 2 * limit:
                steps = distance(asked.seen, other.seen, limit)
                if steps <= limit:
                    found.append((steps, one))
        return tuple(one for _, one in sorted(found)[:most])

    @cached_property
    def _by_form(self) -> Mapping[str, set[str]]:
        near: dict[str, set[str]] = {}
        for name in self._listed:
            for form in _forms(_shape(name).seen):
                near.setdefault(form, set()).add(name)
        return near


def near_names(ecosystem: Ecosystem, name: str, listed: Iterable[str], most: int = 2) -> tuple[str, ...]:
    """Return listed names that somebody may have meant: `NearNames.meant`, for one question alone."""
    return NearNames(listed).meant(ecosystem, name, most)


@dataclass(frozen=True)
class _Shape:
    """What names are compared by."""

    seen: str
    """As the eye reads it: no case, no separators, no digits for letters."""
    bare: str
    """Without the scope and the words that names begin or end with."""
    letters: int
    """One bit for each letter that occurs in `seen`."""


@lru_cache(maxsize=20_000)
def _shape(name: str) -> _Shape:
    seen = name.lower().translate(_LOOKALIKES)
    letters = 0
    for letter in seen:
        letters |= 1 << (ord(letter) % 64)
    return _Shape(seen, _bare(name), letters)


def _forms(seen: str) -> Iterator[str]:
    """Yield what a name has in common with its neighbours: itself, and itself with one letter left out."""
    yield seen
    if len(seen) >= _SHORTEST:
        yield from (seen[:at] + seen[at + 1 :] for at in range(len(seen)))


def _bare(name: str) -> str:
    parts = [
        part
        for part in name.lower().rpartition("/")[2].replace("_", "-").replace(".", "-").split("-")
        if part
    ]
    while len(parts) > 1 and parts[0] in _AFFIXES:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in _AFFIXES:
        parts = parts[:-1]
    return "".join(parts).translate(_LOOKALIKES)


def distance(left: str, right: str, limit: int) -> int:
    """Return how many letters must be added, left out, changed or swapped with their neighbour to get from one to the other.

    Damerau-Levenshtein in its restricted form (optimal string alignment): no piece is edited twice.

    Args:
        left: one text.
        right: the other.
        limit: beyond it the answer is `limit + 1`, whatever it would be.
    """
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for at, letter in enumerate(left, 1):
        before, last, row = row, before, [at]
        for to, other in enumerate(right, 1):
            steps = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != other))
            if at > 1 and to > 1 and letter == right[to - 2] and left[at - 2] == other:
                steps = min(steps, last[to - 2] + 1)
            row.append(steps)
        if min(row) > limit and min(before) > limit:
            return limit + 1
    return min(row[-1], limit + 1)
