"""Python environments for images: from a lock with hashes, for the image's Python and not for this machine's."""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from broch.dev.environment import SetUpFailed, cache_settings, pip_settings, uv_settings

VENV = "opt/venv"
_GLIBC = "manylinux_2_36"
"""Debian 12's."""
_BESIDE = ("bin", "etc", "include", "share")
"""Folders that packages put beside their modules: they belong into the environment itself."""
_SHEBANG = b"#!/opt/venv/bin/python\n"
_BYTECODE = "/tmp/bytecode.py"  # noqa: S108 (inside a sandbox, whose /tmp is its own)


def uv_environment(root: Path) -> dict[str, str]:
    """Return the environment for uv: what the person set for pip, in its words."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    extra = cache_settings(root, os.environ)
    return dict(os.environ) | extra | uv_settings(pip_settings(listing.stdout), os.environ)


def uv(root: Path, arguments: Iterable[str | Path]) -> None:
    """Run uv of this environment.

    Raises:
        SetUpFailed: it ended with an error, which it has printed.
    """
    program = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [program, *arguments],
        cwd=root,
        env=uv_environment(root),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise SetUpFailed(f"uv ended with {done.returncode}; the reason is above")


def version_of(image_root: Path) -> str:
    """Return the version of Debian's Python, such as `3.11`, in a root folder."""
    found = re.fullmatch(r"python(3\.\d+)", (image_root / "usr/bin/python3").readlink().name)
    if found is None:
        raise SetUpFailed("the image's python3 has no version")
    return found[1]


def install(root: Path, lock: Path, version: str, venv: Path) -> None:
    """Make the environment `venv` for Python `version` out of `lock`; every file has a hash there."""
    site = venv / "lib" / f"python{version}" / "site-packages"
    site.mkdir(parents=True)
    arguments: list[str | Path] = ["pip", "install", "--quiet", "--target", site, "--python-version", version]
    arguments += ["--python-platform", f"{platform.machine()}-{_GLIBC}", "--link-mode=copy"]
    uv(root, [*arguments, "--require-hashes", "--no-deps", "--no-build", "-r", lock])
    settle(site, venv)
    (venv / "bin").mkdir(exist_ok=True)
    for name, target in (
        ("python", "/usr/bin/python3"),
        ("python3", "python"),
        (f"python{version}", "python"),
    ):
        (venv / "bin" / name).symlink_to(target)
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    (venv / "pyvenv.cfg").write_text(settings)


def settle(site: Path, venv: Path) -> None:
    """Move what uv put below the modules to where an environment has it, and let commands start its Python."""
    for name in _BESIDE:
        if (site / name).is_dir():
            shutil.move(site / name, venv / name)
    for script in sorted((venv / "bin").iterdir()) if (venv / "bin").is_dir() else []:
        content = script.read_bytes()
        first, _, rest = content.partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            script.write_bytes(_SHEBANG + rest)
    for info in sorted(site.glob("*.dist-info")):
        # Which machine's uv installed it, when, and from where: nothing of that is the image's.
        for name in ("uv_cache.json", "direct_url.json", "REQUESTED"):
            (info / name).unlink(missing_ok=True)
        _mend_record(info / "RECORD")
    (site / ".lock").unlink(missing_ok=True)


def _mend_record(record: Path) -> None:
    """Let RECORD name moved files where they are; a changed script has no digest there any more."""
    rows = []
    with record.open(newline="") as file:
        for path, digest, size in csv.reader(file):
            top = path.split("/", 1)[0]
            if top in _BESIDE:
                rows.append(["../../../" + path, *(["", ""] if top == "bin" else [digest, size])])
            elif (record.parents[1] / path).exists():
                rows.append([path, digest, size])
    with record.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(sorted(rows))


def run_inside(image_root: Path, binds: Sequence[tuple[Path, str, bool]], command: Sequence[str]) -> None:
    """Run a program of the image in a sandbox without network.

    Args:
        image_root: root folder, shown read-only.
        binds: folders of this machine, where they are inside, whether they may be written.
        command: what to run.

    Raises:
        SetUpFailed: bubblewrap is not there, or the program failed; it has printed why.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SetUpFailed("images are made with bubblewrap: sudo apt-get install -y mmdebstrap bubblewrap")
    shown = [["--bind" if write else "--ro-bind", str(outside), at] for outside, at, write in binds]
    done = subprocess.run(
        [
            *(bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
            *("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8"),
            *("--setenv", "PYTHONHASHSEED", "0", "--setenv", "PYTHONDONTWRITEBYTECODE", "1"),
            *("--ro-bind", str(image_root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 (inside)
            *(word for bind in shown for word in bind),
            *("--chdir", "/", "--", *command),
        ],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise SetUpFailed(f"{command[0]} ended with {done.returncode} inside the image; the reason is above")


def compile_inside(image_root: Path, venv: Path, version: str, bytecode: Path) -> None:
    """Compile all modules of an environment, by the Python that will read them, at the place where they will lie."""
    # Both places exist: bubblewrap makes the one in its own /tmp, and the root was given the other.
    binds = [(venv, f"/{VENV}", True), (bytecode, _BYTECODE, False)]
    site = f"/{VENV}/lib/python{version}/site-packages"
    run_inside(image_root, binds, ["/usr/bin/python3", "-I", _BYTECODE, site])
