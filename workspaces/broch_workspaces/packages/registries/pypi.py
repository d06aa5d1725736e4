"""PyPI, or a mirror with the simple index in JSON (PEP 691). What it says besides (licence, summary) is its JSON API's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urldefrag, urljoin

from pydantic import ValidationError

from broch_core.errors import DomainError, NotFound
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.indexes import SIMPLE_JSON
from broch_workspaces.packages.names import canonical_name
from broch_workspaces.packages.outside import Outside, read
from broch_workspaces.packages.registries.registry import DOCUMENT_BYTES, document, text
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Package, PackageFile, Resolved, Wanted

_SDIST = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(?:tar\.gz|zip)")
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-[0-9][^-]*)?-[^-]+-[^-]+-[^-]+\.whl")


class Pypi:
    """One registry of Python packages.

    Args:
        base: its address.
        outside: asks it.
        settings: which hosts files may be on.
    """

    def __init__(self, base: str, outside: Outside, settings: PackagesSettings) -> None:
        self._base = base
        self._outside = outside
        self._hosts = settings.hosts(Ecosystem.PYPI)

    async def addresses(self, package: Package, file: PackageFile) -> Sequence[str]:
        """Return where the index says that the file is: paths of PyPI hold a digest of another kind."""
        for one in await self._files(package.name):
            if one.get("filename") == file.name and isinstance(one.get("url"), str):
                return [urldefrag(urljoin(self._index(package.name), one["url"])).url]
        raise NotFound(f"The registry has no file '{file.name}' any more.")

    async def resolve(self, wanted: Wanted) -> Resolved:
        """Return all files of one version with their SHA-256."""
        found = [one for one in await self._files(wanted.name) if _is_of(one, wanted)]
        if not found:
            raise NotFound(f"The registry has no version {wanted.version} of '{wanted.name}'.")
        info = await self._info(wanted)
        python = next((text(one.get("requires-python"), 200) for one in found), "")
        uploaded = sorted(text(one.get("upload-time"), 40) for one in found)
        try:
            package = Package(
                ecosystem=Ecosystem.PYPI,
                name=wanted.name,
                version=wanted.version,
                licence=_licence(info),
                files=tuple(_file(one) for one in found),
                facts={"requires_python": python} if python else {},
            )
        except (ValidationError, KeyError, TypeError):
            raise RegistryRefused("The registry's index says nothing sensible of this version.") from None
        return Resolved(package=package, summary=text(info.get("summary"), 500), released_at=uploaded[0])

    def _index(self, name: str) -> str:
        return f"{self._base}/simple/{name}/"

    async def _files(self, name: str) -> list[Mapping[str, Any]]:
        async with self._outside.get(self._index(name), self._hosts, accept=SIMPLE_JSON) as answer:
            if answer.content_type != SIMPLE_JSON:
                raise RegistryRefused("The registry has no index in JSON (PEP 691).")
            page = document(await read(answer, DOCUMENT_BYTES))
        return [one for one in page.get("files") or () if isinstance(one, dict)]

    async def _info(self, wanted: Wanted) -> Mapping[str, Any]:
        """Return what is nice to know; mirrors need not have it."""
        address = f"{self._base}/pypi/{wanted.name}/{wanted.version}/json"
        try:
            async with self._outside.get(address, self._hosts, accept="application/json") as answer:
                info = document(await read(answer, DOCUMENT_BYTES)).get("info")
        except DomainError:
            return {}
        return info if isinstance(info, dict) else {}


def _is_of(one: Mapping[str, Any], wanted: Wanted) -> bool:
    name = one.get("filename")
    if not isinstance(name, str):
        return False
    found = _WHEEL.fullmatch(name) or _SDIST.fullmatch(name)
    return (
        found is not None
        and canonical_name(Ecosystem.PYPI, found["name"]) == wanted.name
        and found["version"].lower() == wanted.version.lower()
    )


def _file(one: Mapping[str, Any]) -> PackageFile:
    size = one.get("size")
    return PackageFile(
        name=one["filename"],
        digests=(f"sha256:{one['hashes']['sha256']}",),
        size=size if isinstance(size, int) else None,
    )


def _licence(info: Mapping[str, Any]) -> str:
    """Return the expression (PEP 639), else the classifier, else the first line of what older packages write."""
    if expression := text(info.get("license_expression"), 200):
        return expression
    classifiers = info.get("classifiers")
    for one in classifiers if isinstance(classifiers, list) else ():
        if isinstance(one, str) and one.startswith("License :: "):
            return text(one.rpartition(" :: ")[2], 200)
    said = info.get("license")
    return text(said.partition("\n")[0], 200) if isinstance(said, str) else ""
