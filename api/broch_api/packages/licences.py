"""Whether a licence is one that the platform's policy allows without a word. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9.+-]+")
_LONGEST_EXPRESSION = 60
"""Words and brackets; longer ones are texts of licences, not names."""

SPDX: Mapping[str, str] = {
    "mit license": "MIT",
    "mit + file license": "MIT",
    "the mit license": "MIT",
    "expat": "MIT",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd_3_clause + file license": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd_2_clause + file license": "BSD-2-Clause",
    "apache software license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license (>= 2)": "Apache-2.0",
    "apache license (== 2.0)": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "psf": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "gpl-2": "GPL-2.0-only",
    "gpl-3": "GPL-3.0-only",
    "gpl-2 | gpl-3": "GPL-2.0-only OR GPL-3.0-only",
    "gpl (>= 2)": "GPL-2.0-or-later",
    "gpl (>= 3)": "GPL-3.0-or-later",
    "gpl (>= 2.0)": "GPL-2.0-or-later",
    "gpl-3 + file license": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3": "LGPL-3.0-only",
    "unlimited": "0BSD",
}
"""How registries write licences that SPDX names otherwise (CRAN's *Writing R Extensions*, PyPI's classifiers)."""


def fits(licence: str, allowed: Collection[str]) -> bool:
    """Tell whether an SPDX expression can be kept to with the allowed ids alone (SPDX 2.3, annex D).

    `A OR B` needs one of both, `A AND B` both; `WITH` only adds permissions. What is no such expression is not allowed.
    """
    text = " ".join(licence.split())
    tokens = [*_tokens(SPDX.get(text.lower(), text))]
    if not tokens or len(tokens) > _LONGEST_EXPRESSION:
        return False
    known = {one.lower() for one in allowed}
    try:
        said, rest = _either(tokens, known)
    except (IndexError, ValueError):
        return False
    return said and not rest


def _tokens(text: str) -> Iterator[str]:
    """Yield words and brackets; one that cannot be read, where the text has anything else."""
    if _TOKEN.sub("", text).strip():
        yield ")"
    yield from _TOKEN.findall(text)


def _either(tokens: list[str], known: Collection[str]) -> tuple[bool, list[str]]:
    said, rest = _both(tokens, known)
    while rest and rest[0].upper() == "OR":
        more, rest = _both(rest[1:], known)
        said = said or more
    return said, rest


def _both(tokens: list[str], known: Collection[str]) -> tuple[bool, list[str]]:
    said, rest = _one(tokens, known)
    while rest and rest[0].upper() == "AND":
        more, rest = _one(rest[1:], known)
        said = said and more
    return said, rest


def _one(tokens: list[str], known: Collection[str]) -> tuple[bool, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        said, rest = _either(rest, known)
        if rest[0] != ")":
            raise ValueError("a bracket is not closed")
        return said, rest[1:]
    if first == ")" or first.upper() in {"OR", "AND", "WITH"}:
        raise ValueError("an id is missing")
    if rest and rest[0].upper() == "WITH":
        rest = rest[2:] if len(rest) > 1 else [")"]
    return first.lower() in known, rest
