"""Internal API for the package route: what may be fetched, and what was."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_api.internal.credentials import PackagesOnly
from broch_api.packages.route_lists import LONGEST_WAIT, PackageListRegister
from broch_api.packages.uses import PackageUses
from broch_core.actions import Action
from broch_core.web.routing import Kind, Router, provided
from broch_workspaces.packages.spec import Denials, Fetch, PackageLists

router = Router("/internal/v1", kind=Kind.SERVICE)
Register = Annotated[PackageListRegister, provided(PackageListRegister)]
Uses = Annotated[PackageUses, provided(PackageUses)]


@router.get("/package-lists", action=Action.PACKAGES_LISTS, dependencies=[PackagesOnly])
def package_lists(
    register: Register,
    after: Annotated[str, Query(max_length=16)] = "",
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
) -> PackageLists:
    """Say what every open project may fetch; wait for a change of `after` for at most `wait` seconds."""
    return register.wait(after, wait)


@router.post("/package-fetches", action=Action.PACKAGES_FETCH, dependencies=[PackagesOnly], status_code=204)
def package_fetch(body: Fetch, uses: Uses) -> None:
    """Record that a file is about to be served; without this answer nothing may be."""
    uses.fetched(body)


@router.post("/package-denials", action=Action.PACKAGES_DENIAL, dependencies=[PackagesOnly], status_code=204)
def package_denials(body: Denials, uses: Uses) -> None:
    """Record what zones asked for in vain, added up."""
    uses.refused(body)
