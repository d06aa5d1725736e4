"""An image as a folder, and programs run in it as on a cluster: account 1000, read-only root, no network."""

import json
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

from broch.dev.images import OciImage


def blob(image: OciImage, digest: str) -> Path:
    return image.layout / "blobs" / digest.replace(":", "/")


def manifest(image: OciImage) -> dict:
    return json.loads(blob(image, image.digest).read_text())


def configuration(image: OciImage) -> dict:
    return json.loads(blob(image, manifest(image)["config"]["digest"]).read_text())


_READ: dict[str, tuple[list[tarfile.TarInfo], list[str]]] = {}
TRACE = str(Path(__file__).parents[2]).encode()
"""The checkout's own path."""


def _once(layer: Path) -> tuple[list[tarfile.TarInfo], list[str]]:
    """Return what is in a layer, and the small files that name this checkout. Images share layers: each is read once."""
    if layer.name in _READ:
        return _READ[layer.name]
    listed: list[tarfile.TarInfo] = []
    traced: list[str] = []
    with tarfile.open(layer) as archive:
        for member in archive:
            listed.append(member)
            file = archive.extractfile(member) if member.isreg() and member.size < 1 << 20 else None
            if file is not None and TRACE in file.read():
                traced.append(member.name)
    return _READ.setdefault(layer.name, (listed, traced))


def _layers(image: OciImage) -> list[Path]:
    return [blob(image, layer["digest"]) for layer in manifest(image)["layers"]]


def traces(image: OciImage) -> list[str]:
    """Return the files of an image that name the checkout that it was made from."""
    return [name for layer in _layers(image) for name in _once(layer)[1]]


def members(image: OciImage) -> dict[str, tarfile.TarInfo]:
    """Return everything in the image by path, as its layers leave it."""
    found: dict[str, tarfile.TarInfo] = {}
    for layer in _layers(image):
        for member in _once(layer)[0]:
            gone = gone_by(member.name)
            if gone is None:
                found[member.name] = member
                continue
            for path in [one for one in found if one == gone or one.startswith(f"{gone}/")]:
                del found[path]
    return found


def gone_by(name: str) -> str | None:
    """Return what a whiteout removes; None for anything else."""
    path = PurePosixPath(name)
    if not path.name.startswith(".wh."):
        return None
    return (path.parent / path.name.removeprefix(".wh.")).as_posix()


class Inside:
    """One image, unpacked."""

    def __init__(self, image: OciImage, root: Path) -> None:
        self.image, self.root = image, root
        for layer in manifest(image)["layers"]:
            with tarfile.open(blob(image, layer["digest"])) as archive:
                assert not [name for name in archive.getnames() if gone_by(name)], "unpack whiteouts first"
                archive.extractall(root)

    def run(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        settings = dict(one.split("=", 1) for one in configuration(self.image)["config"]["Env"]) | (env or {})
        said = [word for name, value in settings.items() for word in ("--setenv", name, value)]
        return subprocess.run(
            [
                *("bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"),
                *("--die-with-parent", "--clearenv", *said, "--ro-bind", str(self.root), "/"),
                *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/", "--", *command),
            ],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python of the image's environment."""
        return self.run("/opt/venv/bin/python", "-I", "-c", code, env=env)
