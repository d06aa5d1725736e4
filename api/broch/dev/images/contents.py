"""What of ours lies in the last layer of an image."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from broch.dev.images.layers import Entry, Tree, folder, parents, read_folder, text
from broch.dev.images.python import VENV, compile_inside
from broch.dev.images.spec import FOLDER, Image

UID = 1000
_PLACES = ("data", "imports", "project")
"""Where a workspace's volumes are mounted; nothing inside can make such a folder on a read-only root."""


def account(image: Image, debian: Tree) -> dict[str, Entry]:
    """Return the files that make account 1000 known by a name, in place of Debian's, and its home."""
    passwd = debian["etc/passwd"].piece.read().decode()
    group = debian["etc/group"].piece.read().decode()
    shell = "/bin/bash" if image.contents == "notebook" else "/usr/sbin/nologin"
    found = {
        "etc/passwd": text(f"{passwd}{image.login}:x:{UID}:{UID}::{image.home}:{shell}\n"),
        "etc/group": text(f"{group}{image.login}:x:{UID}:\n"),
    }
    home = image.home.lstrip("/")
    if image.contents == "notebook":
        found |= parents(home) | {home: folder(0o700, UID)}
    return {"etc": folder()} | found


def _step(root: Path, script: Path, *arguments: Path) -> None:
    subprocess.run([sys.executable, "-I", root / script, *arguments], check=True, stdin=subprocess.DEVNULL)


def _services(root: Path, work: Path, image_root: Path, version: str) -> dict[str, Entry]:
    venv = work / "venv"
    site = venv / "lib" / f"python{version}" / "site-packages"
    _step(root, FOLDER / "steps" / "services.py", root, site, venv / "bin")
    compile_inside(image_root, venv, version, root / FOLDER / "steps" / "bytecode.py")
    return read_folder(venv, VENV)


def _notebook(root: Path, work: Path, _image_root: Path, _version: str) -> dict[str, Entry]:
    _step(root, Path("spawner/broch_spawner/lab_files.py"), work / "files")
    found: dict[str, Entry] = {}
    for top in ("etc", "opt"):
        found |= read_folder(work / "files" / top, top)
    return found | {place: folder() for place in _PLACES}


def _scanner(_root: Path, _work: Path, _image_root: Path, _version: str) -> dict[str, Entry]:
    return parents("var/lib/clamav") | {
        "var/lib/clamav": folder(0o755, UID),
        "run/clamav": folder(0o755, UID),
    }


_MAKERS: dict[str, Callable[[Path, Path, Path, str], dict[str, Entry]]] = {
    "services": _services,
    "notebook": _notebook,
    "scanner": _scanner,
}


def inputs(root: Path, image: Image) -> list[Path]:
    """Return the files that `make` reads: the last layer is made anew when one of them changes."""
    steps = sorted((root / FOLDER / "steps").glob("*.py"))
    match image.contents:
        case "services":
            ours = [root / "pyproject.toml"]
            for package in ("api", "airlock", "spawner", "workspaces"):
                ours += (path for path in (root / package).rglob("*") if path.is_file())
        case "notebook":
            ours = [root / "spawner/broch_spawner/lab_files.py"]
            inside = root / "spawner/broch_spawner/inside"
            ours += [*inside.glob("*.py"), *inside.glob("*.js")]
        case _:
            ours = []
    return [*steps, *sorted(path for path in ours if path.suffix != ".pyc")]


def make(
    root: Path, image: Image, debian: Tree, work: Path, image_root: Path, version: str
) -> dict[str, Entry]:
    """Return the last layer.

    Args:
        root: the checkout.
        image: what it is for.
        debian: the Debian root below.
        work: empty folder; the layer's bytes lie there until it is written.
        image_root: the same root as a folder, to run its Python.
        version: of that Python.
    """
    return account(image, debian) | _MAKERS[image.contents](root, work, image_root, version)
