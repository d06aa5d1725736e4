"""The registries: where a listed file is, and what a registry says of one version of a package."""

from __future__ import annotations

from collections.abc import Mapping

from broch_workspaces.packages.outside import Outside
from broch_workspaces.packages.registries.conda import Conda
from broch_workspaces.packages.registries.cran import Cran
from broch_workspaces.packages.registries.npm import Npm
from broch_workspaces.packages.registries.pypi import Pypi
from broch_workspaces.packages.registries.registry import Registry
from broch_workspaces.packages.scratch import Scratch
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem

__all__ = ["Registry", "make_registries"]


def make_registries(
    settings: PackagesSettings, outside: Outside, scratch: Scratch
) -> Mapping[Ecosystem, Registry]:
    """Return a registry for each ecosystem that the settings name one for."""
    made: dict[Ecosystem, Registry] = {}
    if settings.pypi is not None:
        made[Ecosystem.PYPI] = Pypi(settings.pypi, outside, settings)
    if settings.cran is not None:
        made[Ecosystem.CRAN] = Cran(settings.cran, outside, settings, scratch)
    if settings.conda is not None:
        made[Ecosystem.CONDA] = Conda(settings.conda, outside, settings, scratch)
    if settings.npm is not None:
        made[Ecosystem.NPM] = Npm(settings.npm, outside, settings)
    return made
