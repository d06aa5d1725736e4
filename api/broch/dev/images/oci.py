"""An image as an OCI layout: a folder that registries, engines and containerd take as it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broch.dev.images.layers import Layer
from broch.dev.images.spec import Image

UID = "1000:1000"
"""What every container of ours runs as; names are for people."""
SBOM_ANNOTATION = "dev.broch.sbom.digest"
"""Digest of the image's list of components (CycloneDX), which lies beside it."""
_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class OciImage:
    """One image in a folder of its own."""

    layout: Path
    """Folder with `oci-layout`, `index.json` and `blobs`."""
    digest: str
    """sha256 of the manifest, as image references have it."""
    sbom: Path
    """The components, CycloneDX JSON."""


def canonical(value: object) -> bytes:
    """Return the bytes of a JSON document, the same for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def config(
    image: Image, layers: Sequence[Layer], *, architecture: str, epoch: int, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the image configuration: how a container starts, and the layers by what they unpack to."""
    made = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = ["/opt/broch/bin"] if image.contents == "notebook" else []
    path += ["/opt/venv/bin"] if image.environment else []
    environment = {
        "HOME": image.home,
        "LANG": "C.UTF-8",
        "PATH": ":".join([*path, "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
    }
    settings: dict[str, Any] = {
        "User": UID,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Entrypoint": list(image.entrypoint),
        "WorkingDir": image.home if image.contents == "notebook" else "/",
        "Labels": dict(labels),
    }
    if image.volumes:
        settings["Volumes"] = {place: {} for place in image.volumes}
    return {
        "created": made,
        "architecture": architecture,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": made, "created_by": "broch images build"} for _ in layers],
    }


class Layout:
    """Writes one image as a layout. Whoever reads the same image there meanwhile keeps reading it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new = folder.with_name(f".{folder.name}.new")
        self._blobs = self._new / "blobs" / "sha256"
        shutil.rmtree(self._new, ignore_errors=True)
        self._blobs.mkdir(parents=True)

    def _put(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self._blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def _link(self, layer: Layer) -> dict[str, Any]:
        blob = self._blobs / layer.digest.removeprefix("sha256:")
        if not blob.exists():
            try:
                os.link(layer.path, blob)
            except OSError:  # the cache lies on another file system
                shutil.copyfile(layer.path, blob)
        return {"mediaType": _LAYER, "digest": layer.digest, "size": layer.size}

    def _is_there(self) -> bool:
        """Say whether the folder holds this image already, whole."""

        def listing(root: Path) -> dict[str, int]:
            # A blob's name is the digest of what it holds.
            return {
                path.relative_to(root).as_posix(): path.stat().st_size
                for path in root.rglob("*")
                if path.is_file()
            }

        index = "index.json"
        return listing(self.folder) == listing(self._new) and (
            (self.folder / index).read_bytes() == (self._new / index).read_bytes()
        )

    def write(
        self, configuration: Mapping[str, Any], layers: Sequence[Layer], annotations: Mapping[str, str]
    ) -> str:
        """Write everything; return the digest of the manifest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._put(canonical(configuration), _CONFIG),
            "layers": [self._link(layer) for layer in layers],
            "annotations": dict(annotations),
        }
        pointed = self._put(canonical(manifest), _MANIFEST)
        platform = {"architecture": configuration["architecture"], "os": configuration["os"]}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [pointed | {"platform": platform}]}
        (self._new / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
        (self._new / "index.json").write_bytes(canonical(index))
        if self._is_there():
            shutil.rmtree(self._new)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._new.rename(self.folder)
        digest: str = pointed["digest"]
        return digest
