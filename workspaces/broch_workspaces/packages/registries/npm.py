"""The npm registry, or a mirror of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.indexes import NPM_FACTS
from broch_workspaces.packages.locks.lock import integrity_digest
from broch_workspaces.packages.outside import Outside, read
from broch_workspaces.packages.registries.registry import DOCUMENT_BYTES, document, text
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Package, PackageFile, Resolved, Wanted

_LONGEST_FACT = 100_000


class Npm:
    """One registry of JavaScript packages.

    Args:
        base: its address.
        outside: asks it.
        settings: which hosts files may be on.
    """

    def __init__(self, base: str, outside: Outside, settings: PackagesSettings) -> None:
        self._base = base
        self._outside = outside
        self._hosts = settings.hosts(Ecosystem.NPM)

    async def addresses(self, package: Package, file: PackageFile) -> Sequence[str]:
        """Return where every npm registry has it."""
        return [f"{self._base}/{package.name}/-/{file.name}"]

    async def resolve(self, wanted: Wanted) -> Resolved:
        """Return the one file of one version with its SHA-512; npm says no date in this answer."""
        address = f"{self._base}/{wanted.name.replace('/', '%2f')}/{wanted.version}"
        async with self._outside.get(address, self._hosts, accept="application/json") as answer:
            page = document(await read(answer, DOCUMENT_BYTES))
        return Resolved(package=_package(wanted, page), summary=text(page.get("description"), 500))


def _package(wanted: Wanted, page: Mapping[str, Any]) -> Package:
    dist = page.get("dist")
    dist = dist if isinstance(dist, dict) else {}
    digest = integrity_digest(dist.get("integrity"))
    if page.get("version") != wanted.version or digest is None or not digest.startswith("sha512:"):
        raise RegistryRefused(
            "The registry says no SHA-512 of this version. npm packages without one are not taken."
        )
    name = urlsplit(text(dist.get("tarball"), 2000)).path.rpartition("/-/")[2]
    try:
        return Package(
            ecosystem=Ecosystem.NPM,
            name=wanted.name,
            version=wanted.version,
            licence=_licence(page.get("license")),
            files=(PackageFile(name=name, digests=(digest,)),),
            facts=_facts(page),
        )
    except ValidationError:
        raise RegistryRefused("The registry says nothing sensible of this version.") from None


def _licence(value: object) -> str:
    return text(value.get("type") if isinstance(value, dict) else value, 200)


def _facts(page: Mapping[str, Any]) -> dict[str, str]:
    facts = {key: json.dumps(page[key], sort_keys=True) for key in NPM_FACTS if page.get(key)}
    scripts = page.get("scripts")
    if isinstance(scripts, dict) and scripts.keys() & {"preinstall", "install", "postinstall"}:
        facts["hasInstallScript"] = "true"
    if any(len(value) > _LONGEST_FACT for value in facts.values()):
        raise RegistryRefused("The registry says more of this version than can be kept.")
    return facts
