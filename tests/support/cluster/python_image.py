"""A root file system with nothing but a Python: for probes, listeners and hostile pods that no product image is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "tkinter", "ensurepip",
    "lib2to3", "config-*", "turtledemo", "pydoc_data", "*.a",
)  # fmt: skip


def _libraries(program: Path) -> set[Path]:
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", listing)}


def make(root: Path) -> Path:
    """Make it in the new folder `root`: the Python that runs the tests, as `/bin/python3`, without any package.

    Its parts lie where they lie on this machine, since a Python knows its paths; no package registry is asked.
    """
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text(
        "root:x:0:0:root:/:/bin/false\nprobe:x:1000:1000:probe:/tmp:/bin/false\n"
    )
    shutil.copytree(library, root / library.relative_to("/"), ignore=_LEFT_OUT)
    target = root / python.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(python, target)
    (root / "bin" / "python3").symlink_to(python)
    wanted = set().union(*(_libraries(path) for path in (python, *library.glob("lib-dynload/*.so"))))
    for path in wanted:
        copy = root / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy2(path, copy)
    # Folders above the interpreter may be closed to others on this machine, but user 1000 runs it in the pod.
    for folder in [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()]:
        folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o755)
    return root
