"""The indexes that package managers read, made from lists alone: no registry is asked, so nothing unlisted can show. Pure.

Digests go into every one of them: pip, conda and npm then check the bytes once more.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broch_workspaces.packages.spec import Package, PackageFile

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
CRAN_FACTS = ("Depends", "Imports", "LinkingTo", "Suggests", "Enhances")
"""Fields of R's index that say what a package needs; they come from its DESCRIPTION."""
NPM_FACTS = (
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "engines",
    "os",
    "cpu",
    "libc",
)
"""Members of npm's index that come from its registry."""
_LINE = re.compile(r"[\x00-\x1f\x7f]+")


def fact(package: Package, key: str) -> Any:
    """Return a fact as the value that it stands for: JSON where it is, else the text; None where there is none."""
    text = package.facts.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def digest_of(file: PackageFile, kind: str) -> str | None:
    """Return a digest of a file, hexadecimal, or None where the list has none of this kind."""
    return next((one.partition(":")[2] for one in file.digests if one.startswith(f"{kind}:")), None)


def pypi_json(name: str, packages: Iterable[Package]) -> bytes:
    """Return the page of a project (PEP 691)."""
    files = []
    versions = set()
    for package, file in _files(packages):
        versions.add(package.version)
        one: dict[str, Any] = {
            "filename": file.name,
            "url": _pypi_address(package, file),
            "hashes": {"sha256": digest_of(file, "sha256")} if digest_of(file, "sha256") else {},
        }
        if python := _requires_python(package):
            one["requires-python"] = python
        if file.size is not None:
            one["size"] = file.size
        files.append(one)
    page = {"meta": {"api-version": "1.1"}, "name": name, "versions": sorted(versions), "files": files}
    # PEP 700 wants sizes with version 1.1; a list that has none is of version 1.0.
    if any("size" not in one for one in files):
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": files}
    return json.dumps(page).encode()


def pypi_html(name: str, packages: Iterable[Package]) -> bytes:
    """Return the page of a project (PEP 503)."""
    lines = [
        "<!DOCTYPE html>",
        '<html><head><meta name="pypi:repository-version" content="1.0">',
        f"<title>Links for {html.escape(name)}</title></head><body>",
    ]
    for package, file in _files(packages):
        digest = digest_of(file, "sha256")
        address = _pypi_address(package, file) + (f"#sha256={digest}" if digest else "")
        python = _requires_python(package)
        extra = f' data-requires-python="{html.escape(python)}"' if python else ""
        lines.append(f'<a href="{html.escape(address)}"{extra}>{html.escape(file.name)}</a><br>')
    return "\n".join([*lines, "</body></html>", ""]).encode()


def _requires_python(package: Package) -> str:
    # A specifier such as ">=3.10"; one that reads as JSON ("3") is text all the same.
    return package.facts.get("requires_python", "")


def _pypi_address(package: Package, file: PackageFile) -> str:
    return f"../../files/{package.name}/{package.version}/{file.name}"


def cran_packages(packages: Iterable[Package], *, packed: bool) -> bytes:
    """Return the index of a repository of R's packages (`PACKAGES`), with gzip where it is asked for."""
    entries = []
    for package in sorted(packages, key=lambda one: (one.name, one.version)):
        fields = {"Package": package.name, "Version": package.version, "License": package.licence}
        fields |= {key: package.facts.get(key, "") for key in CRAN_FACTS}
        fields["NeedsCompilation"] = package.facts.get("NeedsCompilation", "") or "no"
        entries.append("".join(f"{key}: {_LINE.sub(' ', text)}\n" for key, text in fields.items() if text))
    text = "\n".join(entries).encode()
    return gzip.compress(text, mtime=0) if packed else text


def conda_repodata(subdir: str, packages: Iterable[Package]) -> bytes:
    """Return the index of one platform of one channel (`repodata.json`)."""
    found: dict[str, dict[str, Any]] = {"packages": {}, "packages.conda": {}}
    for package in packages:
        files = [file for file in package.files if file.subdir == subdir]
        facts = {key: fact(package, key) for key in package.facts} if files else {}
        for file in files:
            key = f"{subdir}/{file.name}"
            entry = {
                name: by_file[key]
                for name, by_file in facts.items()
                if isinstance(by_file, dict) and key in by_file
            }
            entry |= {"name": package.name, "version": package.version, "subdir": subdir}
            entry.setdefault("depends", [])
            entry.setdefault("build_number", 0)
            entry.setdefault("build", _build(file.name))
            if package.licence:
                entry["license"] = package.licence
            if (digest := digest_of(file, "sha256")) is not None:
                entry["sha256"] = digest
            if file.size is not None:
                entry["size"] = file.size
            kind = "packages.conda" if file.name.endswith(".conda") else "packages"
            found[kind][file.name] = entry
    return json.dumps(
        {"info": {"subdir": subdir}, **found, "removed": [], "repodata_version": 1}, sort_keys=True
    ).encode()


def _build(name: str) -> str:
    return name.removesuffix(".conda").removesuffix(".tar.bz2").rpartition("-")[2]


def npm_packument(name: str, packages: Sequence[Package], base: str) -> bytes:
    """Return what the npm registry says of one package.

    Args:
        name: of the package.
        packages: its versions.
        base: address that the files are shown at, without a slash at its end; npm takes whole addresses alone.
    """
    versions: dict[str, Any] = {}
    for package in sorted(packages, key=lambda one: _semver(one.version)):
        file = package.files[0]
        dist = {"tarball": f"{base}/packages/npm/{name}/-/{file.name}"}
        if (digest := digest_of(file, "sha512")) is not None:
            dist["integrity"] = "sha512-" + base64.b64encode(bytes.fromhex(digest)).decode()
        entry: dict[str, Any] = {"name": name, "version": package.version, "dist": dist}
        entry |= {
            key: value
            for key in (*NPM_FACTS, "hasInstallScript")
            if (value := fact(package, key)) is not None
        }
        if package.licence:
            entry["license"] = package.licence
        versions[package.version] = entry
    stable = [version for version in versions if "-" not in version]
    latest = (stable or list(versions))[-1]
    return json.dumps({"name": name, "dist-tags": {"latest": latest}, "versions": versions}).encode()


def _semver(version: str) -> tuple[tuple[int, ...], bool, str]:
    numbers, _, before = version.partition("+")[0].partition("-")
    return tuple(int(part) if part.isdigit() else 0 for part in numbers.split(".")), not before, before


def _files(packages: Iterable[Package]) -> list[tuple[Package, PackageFile]]:
    """Return each file once, by name: a version may be on the common list and on the project's."""
    found: Mapping[str, tuple[Package, PackageFile]] = {
        file.name: (package, file) for package in packages for file in package.files
    }
    return [found[name] for name in sorted(found)]
