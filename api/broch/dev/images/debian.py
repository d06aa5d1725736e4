"""Debian layers by mmdebstrap, which needs neither an engine nor a daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from broch.dev.environment import SetUpFailed
from broch.dev.images.layers import Entry, read_tar

_TARGETS = "$(ORIGIN)\t$(RELEASE)\t$(COMPONENT)\t$(REPO_URI)"
_NOT_UNPACKED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/man/*")
_NOT_UNPACKED_EITHER = ("/usr/share/locale/*", "/usr/share/doc-base/*", "/usr/share/bug/*")
_UNPACKED = "/usr/share/doc/*/copyright"
"""Licences stay: who passes an image on must pass them on."""
_DROPPED = (
    "dev",
    # How this build unpacks.
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    # Names of this machine, of its name servers and of its mirror.
    "etc/apt",
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers",
    "var/lib/systemd",
    "var/log",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
)
"""What a build leaves and no image needs; the folders that programs expect are made empty."""
_EMPTY = {"dev": 0o755, "proc": 0o755, "run": 0o755, "run/lock": 0o1777, "sys": 0o755, "tmp": 0o1777}
_EMPTY |= {"var/cache": 0o755, "var/log": 0o755}


def sources(listing: str, suite: str) -> list[str]:
    """Return lines for a sources.list: where this machine's apt has Debian's `suite` from, its updates with it.

    Args:
        listing: what `apt-get indextargets` prints in the format that `mirrors` asks for.
        suite: name of the release.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = {}
    for line in listing.splitlines():
        origin, release, component, uri = line.split("\t")
        # Without lists of packages apt does not know the origin yet; other vendors have suites of the same name.
        debian = origin == "Debian" or (
            origin in {"", "$(ORIGIN)"} and PurePosixPath(uri).name.startswith("debian")
        )
        if release in wanted and component == "main" and debian:
            found[f"deb {uri} {release} main"] = release
    return list(found) if suite in found.values() else []


def mirrors(suite: str) -> list[str]:
    """Return `sources` of this machine; none where its apt has no such suite."""
    if shutil.which("apt-get") is None:
        return []
    command = ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    return sources(listing.stdout, suite) if listing.returncode == 0 else []


def _options(packages: Iterable[str], bytecode: Path) -> list[str]:
    excluded = [f"--dpkgopt=path-exclude={one}" for one in (*_NOT_UNPACKED, *_NOT_UNPACKED_EITHER)]
    return [
        "--quiet",
        # Without apt: nothing is installed in a running image.
        "--variant=essential",
        f"--include={','.join(sorted(packages))}",
        *excluded,
        f"--dpkgopt=path-include={_UNPACKED}",
        # A build that a power cut interrupts is made anew: nothing need reach the disk before its time.
        "--dpkgopt=force-unsafe-io",
        # Debian's own byte code goes by the time of its source, and every time becomes the same.
        f'--customize-hook=copy-in "{bytecode}" /tmp',
        '--customize-hook=chroot "$1" python3 -I /tmp/bytecode.py /usr/lib/python3.* /usr/lib/python3',
    ]


def make(suite: str, packages: Iterable[str], bytecode: Path, epoch: int, archive: Path) -> None:
    """Write a root folder with `packages` as an archive.

    Raises:
        SetUpFailed: mmdebstrap is not there, or ended with an error, which it has printed.
    """
    if shutil.which("mmdebstrap") is None:
        raise SetUpFailed("images are made with mmdebstrap: sudo apt-get install -y mmdebstrap bubblewrap")
    lines = mirrors(suite)
    # Without a suite of this machine's own, mmdebstrap knows where Debian is.
    given = ["-"] if lines else []
    done = subprocess.run(
        ["mmdebstrap", *_options(packages, bytecode), suite, archive, *given],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"},
        input="\n".join(lines) if lines else "",
        text=True,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise SetUpFailed("mmdebstrap failed; the reason is above")


def _dropped(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in _DROPPED)


def tree(archive: Path) -> dict[str, Entry]:
    """List what `make` wrote, without what an image does not need."""
    found = {path: entry for path, entry in read_tar(archive).items() if not _dropped(path)}
    return found | {path: Entry("folder", mode) for path, mode in _EMPTY.items()}
