"""Names of packages, in the one form that each ecosystem knows them by. Pure."""

from __future__ import annotations

import re

from broch_workspaces.packages.spec import Ecosystem

_SEPARATORS = re.compile(r"[-_.]+")


def canonical_name(ecosystem: Ecosystem, name: str) -> str:
    """Return the form of a name that lists hold and that is compared.

    PyPI: lower case, runs of `-_.` are one hyphen (PEP 503). conda: lower case. CRAN tells `Matrix` from `matrix`, and npm
    `JSONStream` from `jsonstream`, from before it wanted lower case: as they are. Whether it is a name at all is not asked
    here (`spec.Name`).
    """
    if ecosystem is Ecosystem.PYPI:
        return _SEPARATORS.sub("-", name).lower()
    return name.lower() if ecosystem is Ecosystem.CONDA else name
