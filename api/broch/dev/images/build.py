"""Build images: Debian by mmdebstrap, an environment from a lock, our own files last; each layer kept by its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from broch.dev.environment import only_one, say
from broch.dev.images import cache, contents, debian, layers, python, sbom
from broch.dev.images.layers import Entry, Layer, difference, read_folder, unpack, write_layer
from broch.dev.images.oci import SBOM_ANNOTATION, Layout, OciImage, canonical, config
from broch.dev.images.spec import FOLDER, Image, Images, architecture, load, lock_of

USUAL = ("broch", "clamav", "workspace-base", "workspace-python")
"""What is built when nothing is named: what the tests on a cluster want."""


class Builder:
    """Makes images of one checkout."""

    def __init__(self, root: Path, kept: cache.Cache) -> None:
        self.root = root
        self.kept = kept
        self.images: Images = load(root)
        self.version: str = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
        self._bytecode = root / FOLDER / "steps" / "bytecode.py"
        self._trees: dict[Path, dict[str, Entry]] = {}
        modules = (contents, debian, layers, python)
        self._code = {one.__name__: Path(str(one.__file__)).read_text() for one in modules}

    def _key(self, kind: str, module: ModuleType, *inputs: object) -> str:
        # How something is made is an input of it.
        how = (self._code[module.__name__], self._code[layers.__name__])
        return cache.key(kind, self.images.epoch, architecture(), *how, self._bytecode, *inputs)

    def _write(self, tree: Mapping[str, Entry], folder: Path) -> None:
        layer = write_layer(tree, folder / "layer.tar.gz", self.images.epoch)
        facts = {"digest": layer.digest, "size": layer.size, "diff_id": layer.diff_id}
        (folder / "layer.json").write_text(json.dumps(facts))

    def _debian_key(self, packages: Iterable[str]) -> str:
        return self._key("debian", debian, self.images.debian.suite, sorted(packages))

    def debian_root(self, packages: tuple[str, ...] = ()) -> Path:
        """Return a folder with a Debian root (`root.tar`), `packages` beside those of every image."""
        wanted = {*self.images.debian.packages, *packages}

        def make(folder: Path) -> None:
            say(f"images: installing Debian with {', '.join(sorted(wanted))}")
            suite = self.images.debian.suite
            debian.make(suite, wanted, self._bytecode, self.images.epoch, folder / "root.tar")

        return self.kept.get(self._debian_key(wanted), make)

    def prepare(self, names: Iterable[str]) -> None:
        """Make the Debian roots of several images, two at once: most of their time is waiting."""
        wanted = dict.fromkeys([(), *(self.images.images[name].packages for name in names)])
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.debian_root, wanted))

    def _tree(self, root: Path) -> dict[str, Entry]:
        if root not in self._trees:
            self._trees[root] = debian.tree(root / "root.tar")
        return self._trees[root]

    def debian_layers(self, packages: tuple[str, ...]) -> list[Path]:
        """Return the folders of the Debian layers: the one below every image, then what `packages` add."""
        base = self.debian_root()
        layer = self.kept.get(f"{base.name}-layer", lambda folder: self._write(self._tree(base), folder))
        found = [layer]
        if packages:
            more = self.debian_root(packages)

            def make(folder: Path) -> None:
                self._write(difference(self._tree(base), self._tree(more)), folder)

            found.append(self.kept.get(self._key("more", debian, base.name, more.name), make))
        return found

    def unpacked(self) -> Path:
        """Return the Debian root below every image as a folder, to run its Python."""
        base = self.debian_root()

        def make(folder: Path) -> None:
            unpack(self._tree(base), folder)
            (folder / python.VENV).mkdir(parents=True)

        return self.kept.get(f"{base.name}-folder", make)

    def environment(self, name: str) -> Path:
        """Return a folder with the whole environment `name` (`venv`), byte code and all."""
        image_root = self.unpacked()
        lock = lock_of(self.root, name)
        status = self._tree(self.debian_root())[sbom.DPKG_STATUS].piece.read().decode()
        minimal = f"libpython{python.version_of(image_root)}-minimal"
        interpreter = sbom.version_of(status, minimal), sbom.version_of(status, "libc6")

        def make(folder: Path) -> None:
            say(f"images: making the environment {name}")
            version = python.version_of(image_root)
            python.install(self.root, lock, version, folder / "venv")
            python.compile_inside(image_root, folder / "venv", version, self._bytecode)
            tree = read_folder(folder / "venv", python.VENV)
            (folder / "components.json").write_bytes(canonical(sbom.python_packages(tree)))

        # Of all in the root below, only these decide what an environment is.
        return self.kept.get(self._key(f"venv-{name}", python, interpreter, lock), make)

    def environment_layers(self, name: str) -> list[Path]:
        """Return the folders of the layers of an environment, those that it stands on first."""
        found: list[Path] = []
        below: Path | None = None
        for one in self.images.stack(name):
            whole = self.environment(one)

            def make(folder: Path, below: Path | None = below, whole: Path = whole) -> None:
                under = read_folder(below / "venv", python.VENV) if below else {}
                self._write(difference(under, read_folder(whole / "venv", python.VENV)), folder)

            key = self._key("layer", python, whole.name, [path.name for path in found])
            found.append(self.kept.get(key, make))
            below = whole
        return found

    def last_layer(self, image: Image) -> Path:
        """Return the folder of the layer with what is ours."""
        root = self.debian_root(image.packages)
        image_root = self.unpacked()

        def make(folder: Path) -> None:
            work = folder / "work"
            work.mkdir()
            tree = contents.make(
                self.root,
                image,
                self._tree(root),
                work,
                image_root,
                python.version_of(image_root),
            )
            self._write(tree, folder)
            (folder / "components.json").write_bytes(canonical(sbom.python_packages(tree)))

        read = contents.inputs(self.root, image)
        names = [path.relative_to(self.root).as_posix() for path in read]
        key = self._key("ours", contents, image.model_dump(), root.name, image_root.name, names, *read)
        return self.kept.get(key, make)

    def components(self, image: Image, last: Path) -> list[dict[str, Any]]:
        """Return what an image is made of."""
        archive = self._tree(self.debian_root(image.packages))
        status = archive[sbom.DPKG_STATUS].piece.read().decode()
        found = sbom.debian_packages(status, self.images.debian.suite)
        listed = [last, *([self.environment(image.environment)] if image.environment else [])]
        for folder in listed:
            found += json.loads((folder / "components.json").read_text())
        return found

    def build(self, name: str, out: Path) -> OciImage:
        """Build one image into `out/NAME`, its components into `out/NAME.cdx.json`."""
        image = self.images.images[name]
        folders = self.debian_layers(image.packages)
        folders += self.environment_layers(image.environment) if image.environment else []
        last = self.last_layer(image)
        made = datetime.fromtimestamp(self.images.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        bill = canonical(sbom.document(name, self.version, made, self.components(image, last)))
        listed = out / f"{name}.cdx.json"
        out.mkdir(parents=True, exist_ok=True)
        listed.write_bytes(bill)
        about = {
            "org.opencontainers.image.title": image.title,
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.licenses": "Apache-2.0",
        }
        finished = [_finished(folder) for folder in (*folders, last)]
        configuration = config(
            image, finished, architecture=architecture(), epoch=self.images.epoch, labels=about
        )
        annotations = about | {SBOM_ANNOTATION: f"sha256:{hashlib.sha256(bill).hexdigest()}"}
        digest = Layout(out / name).write(configuration, finished, annotations)
        return OciImage(out / name, digest, listed)


def _finished(folder: Path) -> Layer:
    facts = json.loads((folder / "layer.json").read_text())
    return Layer(folder / "layer.tar.gz", facts["digest"], facts["size"], facts["diff_id"])


def build(
    names: Iterable[str] = USUAL, out: Path | None = None, *, root: Path | None = None, fresh: bool = False
) -> dict[str, OciImage]:
    """Build images as OCI layouts below `out`.

    Args:
        names: which, from `images.toml`.
        out: folder; `dist/images` of the checkout if none is named.
        root: the checkout; the one that this module lies in if none is named.
        fresh: use nothing that was made before (Debian's packages are then the newest).

    Raises:
        UnknownImage: a name is no image.
        SetUpFailed: a tool is missing or failed.
    """
    root = root or Path(__file__).resolve().parents[4]
    out = out or root / "dist" / "images"
    place = cache.place()
    place.mkdir(parents=True, exist_ok=True)
    found = {}
    with only_one(place / ".lock", "makes images"):
        os.umask(0o022)
        kept = cache.Cache(place, fresh=fresh)
        builder = Builder(root, kept)
        chosen = builder.images.chosen(tuple(names))
        builder.prepare(chosen)
        for name in chosen:
            started = time.monotonic()
            found[name] = builder.build(name, out)
            say(f"images: {name} {found[name].digest} ({time.monotonic() - started:.1f} s)")
        kept.prune()
    sys.stderr.flush()
    return found
