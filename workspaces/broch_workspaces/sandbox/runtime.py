"""Which folders of this machine a sandbox needs to run our Python."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from broch_workspaces.sandbox.profile import GID, UID, Bind, DataFile, Link

_ETC = ("ld.so.cache", "alternatives", "localtime", "fonts", "mime.types")
_TOP_LEVEL = ("bin", "sbin", "lib", "lib64", "lib32")


def package_folders(packages: Iterable[str]) -> tuple[Path, ...]:
    """Return where the named packages of ours lie when that is outside the environment (an editable install).

    Raises:
        ModuleNotFoundError: a name that cannot be imported.
    """
    found = []
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"package {name} is not installed", name=name)
        folder = Path(next(iter(spec.submodule_search_locations))).resolve()
        if not folder.is_relative_to(Path(sys.prefix).resolve()):
            found.append(folder)
    return tuple(found)


def interpreter_folders() -> tuple[Path, ...]:
    """Return the environment and the base interpreter it points to, without what lies in /usr."""
    wanted = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()}
    wanted.add(Path(sys.executable).resolve().parent.parent)
    outside = sorted(path for path in wanted if not path.is_relative_to("/usr"))
    return tuple(
        path for path in outside if not any(path != other and path.is_relative_to(other) for other in outside)
    )


def system_links(root: Path = Path("/")) -> tuple[Link, ...]:
    """Return `/bin`, `/lib` ... where they are links into /usr (merged-usr systems)."""
    return tuple(
        Link(f"/{name}", str((root / name).readlink())) for name in _TOP_LEVEL if (root / name).is_symlink()
    )


def system_files(login: str = "researcher", home: str = "/home/researcher") -> tuple[DataFile, ...]:
    """Return a passwd, group, hosts and nsswitch of the sandbox's own: nothing of the machine's people shows."""
    return (
        DataFile("/etc/passwd", f"{login}:x:{UID}:{GID}::{home}:/bin/bash\n".encode()),
        DataFile("/etc/group", f"{login}:x:{GID}:\n".encode()),
        DataFile("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
        DataFile("/etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n"),
    )


def runtime_binds(packages: Iterable[str] = ()) -> tuple[Bind, ...]:
    """Return the read-only binds that `sys.executable -I -m package...` needs inside.

    Paths stay what they are on the machine: a virtual environment does not work anywhere else.

    Args:
        packages: packages of ours to show, such as `("broch_core", "broch_airlock")`.
    """
    binds = [Bind(Path("/usr"), "/usr")]
    binds += [
        Bind(Path("/", name), f"/{name}")
        for name in _TOP_LEVEL
        if Path("/", name).is_dir() and not Path("/", name).is_symlink()
    ]
    binds += [Bind(Path("/etc", name), f"/etc/{name}", optional=True) for name in _ETC]
    folders = {*interpreter_folders(), *package_folders(packages)}
    binds += [Bind(folder, str(folder)) for folder in sorted(folders)]
    return tuple(binds)
