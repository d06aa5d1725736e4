"""Lists of packages and outside addresses on the surface: an entry in every state, and how each route is called."""

from __future__ import annotations

from typing import Any

from broch_api.packages.pages import pack
from broch_core.lifecycles import AllowanceStatus
from broch_core.tables.packages import Lookup
from broch_core.tables.projects import Project
from support.package_lists import listed, nominated
from support.surface import Surface
from support.surface_recipes import Build, Recipe, Thing, keys, nothing


def add_lists(surface: Surface, beta: Project) -> None:
    """Put entries onto the lists of the project `alpha`, and an address onto that of `beta`."""
    world = surface.world
    packages = surface.things.setdefault("package", {})
    resources = surface.things.setdefault("resource", {})
    for status in AllowanceStatus:
        row = listed(world, f"in-{status.value}", "ruth", status, world.project.id)
        packages[status.value] = {"package_id": row.id, "project_id": world.project.id}
        one = nominated(world, f"in-{status.value}", "ruth", status, world.project.id)
        resources[status.value] = {"resource_id": one.id, "project_id": world.project.id}
    row = listed(
        world,
        "not-found",
        "ruth",
        AllowanceStatus.PROPOSED,
        world.project.id,
        lookup=Lookup.FAILED,
        problem="No.",
    )
    packages["failed"] = {"package_id": row.id, "project_id": world.project.id}
    other = nominated(world, "elsewhere", "sam", AllowanceStatus.PROPOSED, beta.id)
    surface.things["foreign"][""]["resource_id"] = other.id


_PACKAGE = {"ecosystem": "pypi", "name": "lifelines", "version": "1.0.0", "why": "We need it."}
_LOCK = {"filename": "requirements.txt", "content": "lifelines==1.0.0"}
_ADDRESS = {"slug": "genes", "url": "https://example.org/genes.tsv", "largest": 1000, "why": "We need it."}
_WHY = {"reason": "Not needed."}
_DENIAL = {"ecosystem": "pypi", "name": "nunpy", "count": 2}


def _chosen(**more: Any) -> Build:
    return lambda thing: {"ids": [thing["package_id"]], **more}


def _fetch(thing: Thing) -> dict[str, Any]:
    pod = f"zone-{thing['project_id'].lower()}/w-1"
    return {
        "project_id": thing["project_id"],
        "pod": pod,
        "kind": "package",
        "name": "x",
        "sha256": "0" * 64,
        "size": 1,
    }


LIST_RECIPES: dict[tuple[str, str], Recipe] = {
    ("GET", "/packages"): Recipe(),
    ("GET", "/packages/new"): Recipe(),
    ("POST", "/packages"): Recipe(form=lambda _: _PACKAGE),
    ("POST", "/packages/lookup"): Recipe(form=lambda _: _PACKAGE),
    ("POST", "/packages/lock-file"): Recipe(form=lambda _: _LOCK),
    ("POST", "/packages/lock-file/take"): Recipe(
        form=lambda _: {
            "filename": "requirements.txt",
            "packed": pack("lifelines==1.0.0"),
            "why": "We need it.",
        }
    ),
    ("POST", "/packages/approve"): Recipe("package", form=_chosen()),
    ("POST", "/packages/decline"): Recipe("package", form=_chosen(**_WHY)),
    ("POST", "/packages/lookups"): Recipe("package", form=keys("project_id"), states=("failed",)),
    ("POST", "/packages/{package_id}/remove"): Recipe("package", form=lambda _: _WHY),
    ("GET", "/api/v1/packages"): Recipe(),
    ("POST", "/api/v1/packages"): Recipe(json=lambda _: _PACKAGE),
    ("GET", "/api/v1/packages/lookup"): Recipe(
        query=lambda _: {name: _PACKAGE[name] for name in ("ecosystem", "name", "version")}
    ),
    ("GET", "/api/v1/packages/progress"): Recipe(),
    ("POST", "/api/v1/packages/lookups"): Recipe("package", json=keys("project_id"), states=("failed",)),
    ("POST", "/api/v1/packages/lock-files/preview"): Recipe(json=lambda _: _LOCK),
    ("POST", "/api/v1/packages/lock-files"): Recipe(json=lambda _: {**_LOCK, "why": "We need it."}),
    ("POST", "/api/v1/packages/approvals"): Recipe("package", json=_chosen()),
    ("POST", "/api/v1/packages/refusals"): Recipe("package", json=_chosen(**_WHY)),
    ("POST", "/api/v1/packages/{package_id}/approve"): Recipe("package", json=nothing),
    ("POST", "/api/v1/packages/{package_id}/decline"): Recipe("package", json=lambda _: _WHY),
    ("POST", "/api/v1/packages/{package_id}/remove"): Recipe("package", json=lambda _: _WHY),
    ("GET", "/projects/{project_id}/packages"): Recipe("project"),
    ("POST", "/projects/{project_id}/resources"): Recipe("project", form=lambda _: _ADDRESS),
    ("POST", "/projects/{project_id}/package-budget"): Recipe("project", form=lambda _: {"gibibytes": "3"}),
    ("GET", "/api/v1/projects/{project_id}/package-use"): Recipe("project"),
    ("PUT", "/api/v1/projects/{project_id}/package-budget"): Recipe(
        "project", json=lambda _: {"bytes_a_day": 1000}
    ),
    ("GET", "/api/v1/projects/{project_id}/resources"): Recipe("project"),
    ("POST", "/api/v1/projects/{project_id}/resources"): Recipe("project", json=lambda _: _ADDRESS),
    ("POST", "/api/v1/resources/{resource_id}/decline"): Recipe("resource", json=lambda _: _WHY),
    ("POST", "/api/v1/resources/{resource_id}/remove"): Recipe("resource", json=lambda _: _WHY),
    ("GET", "/internal/v1/package-lists"): Recipe(),
    ("POST", "/internal/v1/package-fetches"): Recipe("project", json=_fetch, states=("active",)),
    ("POST", "/internal/v1/package-denials"): Recipe(
        "project",
        json=lambda thing: {"items": [{"project_id": thing["project_id"], **_DENIAL}]},
        states=("active",),
    ),
}

LIST_FAMILIES: tuple[tuple[str, str, Recipe], ...] = (
    ("POST", "/projects/{project_id}/resources/{resource_id}/*", Recipe("resource", form=lambda _: _WHY)),
    ("POST", "/api/v1/resources/{resource_id}/*", Recipe("resource")),
    ("*", "/packages/{package_id}*", Recipe("package", form=nothing)),
    ("*", "/api/v1/packages/{package_id}*", Recipe("package")),
)
