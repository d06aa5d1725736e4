"""What each project may fetch: the control plane's lists, arranged for asking. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broch_core.errors import Denied
from broch_workspaces.packages.near import near_names
from broch_workspaces.packages.spec import (
    Ecosystem,
    Package,
    PackageFile,
    PackageLists,
    ProjectList,
    Resource,
)

_Key = tuple[Ecosystem, str, str]
"""Ecosystem, channel, name."""


class Unlisted(Denied):
    """A package is not on the list; says which one may have been meant."""

    kind = "not-on-the-list"
    title = "This is not on the list of this project"


@dataclass(frozen=True)
class Listed:
    """One file that may be fetched."""

    package: Package
    file: PackageFile
    digests: frozenset[str]
    """All that any list says of it; all of them must be right."""


class _Shelf:
    """Packages by what they are asked for by."""

    def __init__(self, packages: Iterable[Package]) -> None:
        self.by_name: dict[_Key, list[Package]] = defaultdict(list)
        self.by_place: dict[tuple[Ecosystem, str], list[Package]] = defaultdict(list)
        for package in packages:
            self.by_name[package.ecosystem, package.channel, package.name].append(package)
            self.by_place[package.ecosystem, package.channel].append(package)


_NO_SHELF = _Shelf(())


class Allowed:
    """All lists of one answer of the control plane.

    Args:
        lists: as they came.
    """

    def __init__(self, lists: PackageLists) -> None:
        self.digest = lists.digest
        self._common = _Shelf(lists.common)
        self._own = {one.project_id: _Shelf(one.packages) for one in lists.projects}
        self._projects = {one.project_id: one for one in lists.projects}

    def project(self, project_id: str) -> ProjectList:
        """Return the list of a project.

        Raises:
            Denied: it is not open.
        """
        found = self._projects.get(project_id)
        if found is None:
            raise Denied("This project may not fetch packages: it is not open, or was stopped.")
        return found

    def named(self, project_id: str, ecosystem: Ecosystem, name: str, channel: str = "") -> list[Package]:
        """Return all versions of a package that a project may fetch.

        Raises:
            Denied: the project is not open.
            Unlisted: there are none.
        """
        self.project(project_id)
        found = [
            package
            for shelf in self._shelves(project_id)
            for package in shelf.by_name.get((ecosystem, channel, name), ())
        ]
        if not found:
            raise Unlisted(self._refusal(project_id, ecosystem, name, channel))
        return found

    def placed(self, project_id: str, ecosystem: Ecosystem, channel: str = "") -> list[Package]:
        """Return all packages of an ecosystem, or of a channel, that a project may fetch.

        Raises:
            Denied: the project is not open.
        """
        self.project(project_id)
        return [
            package
            for shelf in self._shelves(project_id)
            for package in shelf.by_place.get((ecosystem, channel), ())
        ]

    def file(
        self,
        project_id: str,
        ecosystem: Ecosystem,
        file: str,
        *,
        name: str = "",
        version: str = "",
        channel: str = "",
        subdir: str = "",
    ) -> Listed:
        """Return a file that a project may fetch.

        Args:
            project_id: whose list.
            ecosystem: where it is from.
            file: its name.
            name: of the package; empty where the address does not say it (conda).
            version: where the address says it.
            channel: conda's.
            subdir: conda's.

        Raises:
            Denied: the project is not open.
            Unlisted: the package or this file of it is not on the list.
        """
        if name:
            packages = self.named(project_id, ecosystem, name, channel)
        else:
            packages = self.placed(project_id, ecosystem, channel)
        found = [
            (package, one)
            for package in packages
            if not version or package.version == version
            for one in package.files
            if one.name == file and one.subdir == subdir
        ]
        if not found:
            raise Unlisted(self._no_file(packages if name else [], name, version, file))
        package, one = found[0]
        return Listed(package, one, frozenset(digest for _, other in found for digest in other.digests))

    def resource(self, project_id: str, slug: str) -> Resource:
        """Return an address that a project nominated.

        Raises:
            Denied: the project is not open, or has none of this name.
        """
        for one in self.project(project_id).resources:
            if one.slug == slug:
                return one
        raise Denied(f"'{slug}' is no resource of this project. Its page 'Packages' lists those that are.")

    def _shelves(self, project_id: str) -> Sequence[_Shelf]:
        return (self._common, self._own.get(project_id, _NO_SHELF))

    def _refusal(self, project_id: str, ecosystem: Ecosystem, name: str, channel: str) -> str:
        listed = {
            package.name
            for shelf in self._shelves(project_id)
            for package in shelf.by_place.get((ecosystem, channel), ())
        }
        near = near_names(ecosystem, name, listed)
        hint = (
            f"Did you mean {' or '.join(repr(one) for one in near)}?"
            if near
            else "Ask for it on the project's page."
        )
        return f"'{name}' is not on the list of this project. {hint}"

    @staticmethod
    def _no_file(packages: Sequence[Package], name: str, version: str, file: str) -> str:
        versions = sorted({package.version for package in packages})
        if version and version not in versions:
            return (
                f"Version {version} of '{name}' is not on the list of this project. "
                f"Listed: {', '.join(versions[:10])}."
            )
        return f"The file '{file}' is not on the list of this project."
