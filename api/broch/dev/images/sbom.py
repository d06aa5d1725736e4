"""What an image is made of, as CycloneDX 1.6: Debian's packages by dpkg, Python's by what is installed."""

from __future__ import annotations

import email.parser
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

from broch.dev.images.layers import Tree

DPKG_STATUS = "var/lib/dpkg/status"


def debian_packages(status: str, suite: str) -> list[dict[str, Any]]:
    """Return the components that dpkg's status file names as installed."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = email.parser.HeaderParser().parsestr(paragraph.lstrip("\n"))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        # `Source: name (version)`; without it the source has the same name.
        source = fields.get("Source", name).split(" ", 1)[0]
        said = f"?arch={fields['Architecture']}&distro={suite}"
        found.append(
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:deb/debian/{quote(name)}@{quote(version)}{said}",
                "properties": [{"name": "broch:debian:source", "value": source}],
            }
        )
    return found


def version_of(status: str, package: str) -> str:
    """Return the version of an installed Debian package.

    Raises:
        KeyError: it is not installed.
    """
    return str({one["name"]: one["version"] for one in debian_packages(status, "")}[package])


def python_packages(tree: Tree) -> list[dict[str, Any]]:
    """Return the components that the distributions in a tree state about themselves."""
    found = []
    for path, entry in tree.items():
        place = PurePosixPath(path)
        if place.name != "METADATA" or place.parent.suffix != ".dist-info":
            continue
        fields = email.parser.BytesHeaderParser().parsebytes(entry.piece.read())
        name, version = canonicalize_name(fields["Name"]), fields["Version"]
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{quote(version)}",
        }
        if licence := fields.get("License-Expression"):
            component["licenses"] = [{"expression": licence}]
        found.append(component)
    return found


def document(name: str, version: str, made: str, components: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document for one image.

    Args:
        name: of the image.
        version: of Broch.
        made: moment of all files in the image (RFC 3339): no build of the same image says another.
        components: from the functions above; the same one may come several times.
    """
    by_purl = {component["purl"]: component for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made,
            "component": {"type": "container", "bom-ref": "image", "name": name, "version": version},
        },
        "components": [{"bom-ref": purl, **by_purl[purl]} for purl in sorted(by_purl)],
    }
