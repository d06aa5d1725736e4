"""An OCI image of one layer from a folder, as far as a container runtime asks for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _blob(layout: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _tar(rootfs: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(rootfs.rglob("*")):
            archive.add(path, str(path.relative_to(rootfs)), recursive=False, filter=_owned_by_root)
    return buffer.getvalue()


def write(
    rootfs: Path, layout: Path, entrypoint: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Path:
    """Write the image of `rootfs` to the new folder `layout`; everything in it belongs to root."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    layer = _tar(rootfs)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint),
            "Env": [f"{name}={value}" for name, value in sorted((environment or {}).items())],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {
            "mediaType": f"{kind}.config.v1+json",
            **_blob(layout, json.dumps(config, sort_keys=True).encode()),
        },
        "layers": [
            {
                "mediaType": f"{kind}.layer.v1.tar+gzip",
                **_blob(layout, gzip.compress(layer, compresslevel=1, mtime=0)),
            }
        ],
    }
    only = {
        "mediaType": f"{kind}.manifest.v1+json",
        **_blob(layout, json.dumps(manifest, sort_keys=True).encode()),
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    }
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": [only]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


def entry(layout: Path) -> dict[str, Any]:
    """Return the entry of the one image in `layout`'s index.

    Raises:
        ValueError: it holds none, or several.
    """
    found = json.loads((layout / "index.json").read_text())["manifests"]
    if len(found) != 1:
        raise ValueError(f"{layout} holds {len(found)} images, not one")
    only: dict[str, Any] = found[0]
    return only


def archive(layout: Path, tag: str, out: IO[bytes]) -> str:
    """Write the image in `layout` to `out` as a tar, under `tag` whatever the layout calls it; return its digest."""
    only = entry(layout) | {"annotations": {"org.opencontainers.image.ref.name": tag}}
    index = json.dumps({"schemaVersion": 2, "manifests": [only]}).encode()
    with tarfile.open(fileobj=out, mode="w|") as packed:
        packed.add(layout / "oci-layout", "oci-layout")
        packed.add(layout / "blobs", "blobs")
        about = tarfile.TarInfo("index.json")
        about.size = len(index)
        packed.addfile(about, io.BytesIO(index))
    return str(only["digest"])
