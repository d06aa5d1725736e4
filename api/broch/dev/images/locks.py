"""The locks of images' environments: subsets of `requirements.lock`, or what stands on one, with hashes and no addresses."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

from broch.dev.environment import RUNTIME_LOCK, SetUpFailed, say
from broch.dev.images.python import uv
from broch.dev.images.spec import Images, load, lock_of
from broch.dev.lock import pins

_HEADER = "# Made by ./broch lock for the image environment {name}.\n# inputs sha256:{digest}\n"


def requirements(root: Path, images: Images, name: str) -> list[str]:
    """Return what an environment asks for, with all that it stands on."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    for one in images.stack(name):
        environment = images.environments[one]
        found.update(environment.requirements, project["dependencies"] if environment.project else [])
        found.update(line for extra in environment.extras for line in project["optional-dependencies"][extra])
    return sorted(found)


def _digest(root: Path, images: Images, name: str) -> str:
    return hashlib.sha256(json.dumps(requirements(root, images, name)).encode()).hexdigest()


def problems(root: Path) -> list[str]:
    """Return in what the images' locks do not answer to `images.toml`, `pyproject.toml` and the runtime lock."""
    images = load(root)
    runtime: dict[str, set[str]] = {}
    for pin in pins((root / RUNTIME_LOCK).read_text()):
        runtime.setdefault(pin.name, set()).add(pin.version)  # several for different Pythons
    found = []
    for name in images.environments:
        path = lock_of(root, name)
        text = path.read_text() if path.exists() else ""
        if f"# inputs sha256:{_digest(root, images, name)}\n" not in text:
            found.append(f"{path.name} was made from other dependencies than are stated now")
        for pin in pins(text):
            if not pin.hashed:
                found.append(f"{path.name} has no hash for {pin.name}")
            if pin.version not in runtime.get(pin.name, {pin.version}):
                found.append(f"{path.name} pins {pin.name} {pin.version}, {RUNTIME_LOCK} does not")
        if "://" in text or any(line.startswith("-") for line in text.splitlines()):
            found.append(f"{path.name} holds an address or an option: it must hold pins and hashes alone")
    return [f"{problem}: run ./broch lock" for problem in found]


def make(root: Path, *, upgrade: tuple[str, ...] | None = None) -> int:
    """Make all of them anew; return the exit status.

    What `requirements.lock` pins has the same version here. For the rest `upgrade` means what it means there:
    None keeps what is pinned where it still fits, () takes the newest of everything, names of those.
    """
    images = load(root)
    how = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-build", "--no-header"]
    how += ["--no-emit-index-url", "--no-emit-find-links", "--no-annotate", f"--constraints={RUNTIME_LOCK}"]
    if upgrade is not None:
        how += [f"--upgrade-package={name}" for name in upgrade] or ["--upgrade"]
    for name in images.environments:
        path = lock_of(root, name)
        new, wanted = path.with_suffix(".new"), path.with_suffix(".in")
        say(f"images: locking {name}")
        try:
            wanted.write_text("".join(f"{line}\n" for line in requirements(root, images, name)))
            new.write_bytes(path.read_bytes() if path.exists() else b"")
            uv(root, ["pip", "compile", "--quiet", wanted, *how, f"--output-file={new}"])
            path.write_text(_HEADER.format(name=name, digest=_digest(root, images, name)) + new.read_text())
        except SetUpFailed as failed:
            say(str(failed))
            return 1
        finally:
            new.unlink(missing_ok=True)
            wanted.unlink(missing_ok=True)
    for problem in (found := problems(root)):
        say(problem)
    return 1 if found else 0
