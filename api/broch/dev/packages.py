"""System packages that `broch up` and the test layers want, and how to get them.

As root on Debian or Ubuntu they are installed; anybody else is told the one command.
"""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from broch.dev.environment import say


@dataclasses.dataclass(frozen=True)
class Package:
    """A package by its Debian name, why it is wanted, and how to see whether it is there."""

    name: str
    why: str
    present: Callable[[], bool]


def _command(*names: str) -> Callable[[], bool]:
    def present() -> bool:
        # Daemons lie in sbin, which is not on the path of an ordinary user on Debian.
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return any(shutil.which(name, path=path) for name in names)

    return present


def _file(pattern: str) -> Callable[[], bool]:
    return lambda: any(Path("/").glob(pattern))


def _postgresql() -> bool:
    return _command("initdb")() or _file("usr/lib/postgresql/*/bin/initdb")()


BUBBLEWRAP = Package(
    "bubblewrap", "every workspace and every check of a file runs in its sandbox", _command("bwrap")
)
CLAMAV = Package("clamav-daemon", "scans every file that crosses the airlock", _command("clamd"))
CHROMIUM = Package("chromium", "the browser tests drive it", _command("chromium", "chromium-browser"))
FONTS = Package(
    "fonts-dejavu-core", "pages in the browser tests need a font", _file("usr/share/fonts/**/DejaVuSans.ttf")
)
POSTGRESQL = Package("postgresql", "the integration tests start a server of their own", _postgresql)
KERNEL_HEADERS = Package(
    "linux-libc-dev",
    "the filter of system calls is checked against its numbers",
    _file("usr/include/asm-generic/unistd.h"),
)
USER_MODE_LINUX = Package(
    "user-mode-linux",
    "a kernel with control groups is booted to try workspaces in them",
    # Made for x86 alone; the tests say so elsewhere.
    lambda: platform.machine() not in {"x86_64", "i686"} or _command("linux.uml")(),
)
IPROUTE = Package("iproute2", "tests make networks of their own", _command("ip"))
COMPILER = (
    Package("gcc", "runc is built with it, and a helper of the kernel that tests boot", _command("gcc")),
    Package("libc6-dev", "what gcc needs to make a program", _file("usr/include/stdlib.h")),
)
TEST_BED = (
    Package("busybox-static", "the test bed's first image", _file("bin/busybox")),
    Package("conntrack", "kube-proxy needs it", _command("conntrack")),
    Package("containernetworking-plugins", "pods get their network by them", _file("usr/lib/cni/portmap")),
    *COMPILER,
    Package("gettext-base", "fills in the test bed's settings", _command("envsubst")),
    IPROUTE,
    Package("ipset", "Calico keeps policies in sets", _command("ipset")),
    Package("iptables", "Services and policies are its rules", _command("iptables")),
    Package("libseccomp-dev", "runc filters system calls by it", _file("usr/include/seccomp.h")),
    Package("nftables", "keeps the test bed from the machine", _command("nft")),
    Package("openssl", "the test bed's certificates", _command("openssl")),
    Package("pkg-config", "runc is built with it", _command("pkg-config")),
    Package("procps", "the test bed sets kernel parameters by sysctl", _command("sysctl")),
    Package("umoci", "makes the test bed's first images", _command("umoci")),
    Package("util-linux", "the node's namespaces", _command("nsenter")),
)
"""What `tests/cluster/testbed` needs; the same names are in its `lib/build.sh`."""
JAVA = Package("openjdk-17-jre-headless", "Keycloak, who signs people in, runs on it", _command("java"))
MAVEN = Package("maven", "fetches Keycloak", _command("mvn"))
CURL = Package("curl", "tells in another network whether Keycloak answers", _command("curl"))
R = Package("r-base-core", "R installs a package by the package route", _command("R"))
NPM = Package("npm", "npm installs a package by the package route", _command("npm"))
MMDEBSTRAP = Package("mmdebstrap", "makes the images' Debian", _command("mmdebstrap"))

NEEDS: Mapping[str, tuple[Package, ...]] = {
    "up": (BUBBLEWRAP, CLAMAV),
    "unit": (KERNEL_HEADERS,),
    "integration": (BUBBLEWRAP, CLAMAV, POSTGRESQL, USER_MODE_LINUX, *COMPILER, JAVA, MAVEN, CURL, R, NPM),
    "browser": (BUBBLEWRAP, CLAMAV, CHROMIUM, FONTS, IPROUTE),
    "cluster": (*TEST_BED, CHROMIUM, FONTS, POSTGRESQL, JAVA, MAVEN, CURL, BUBBLEWRAP, MMDEBSTRAP),
}
"""What each purpose wants: a test layer, or `up`."""

_LISTS = Path("/var/lib/apt/lists")


def missing(purposes: Iterable[str]) -> list[Package]:
    """Return the packages that `purposes` want and that are not there."""
    wanted = dict.fromkeys(package for purpose in purposes for package in NEEDS.get(purpose, ()))
    return [package for package in wanted if not package.present()]


def remedy(packages: Iterable[Package]) -> str:
    """Return the one command that installs `packages`."""
    names = " ".join(package.name for package in packages)
    if shutil.which("apt-get"):
        return f"sudo apt-get install -y {names}"
    return f"install these, or what your system calls them: {names}"


def _apt(*arguments: str) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    waiting = "-oDPkg::Lock::Timeout=300"
    done = subprocess.run(
        ["apt-get", "-q", waiting, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    return done.returncode == 0


def provide(purposes: Iterable[str]) -> list[Package]:
    """Install what `purposes` lack if that is possible and allowed; return what is missing afterwards."""
    purposes = list(purposes)
    lacking = missing(purposes)
    for package in lacking:
        say(f"{package.name} is missing: {package.why}")
    if not lacking:
        return []
    forbidden = os.environ.get("BROCH_NO_INSTALL") == "1"
    if os.geteuid() != 0 or forbidden or not shutil.which("apt-get"):
        say(f"to mend it: {remedy(lacking)}")
        return lacking
    names = [package.name for package in lacking]
    say(f"installing with apt-get: {' '.join(names)} (BROCH_NO_INSTALL=1 forbids this)")
    install = ("install", "-y", "--no-install-recommends", *names)
    listed = any(_LISTS.glob("*_Packages*")) or any(_LISTS.glob("*_InRelease"))
    if not (listed and _apt(*install)):
        # No lists, or lists so old that they name files which are gone.
        _apt("update")
        _apt(*install)
    lacking = missing(purposes)
    if lacking:
        say(f"still missing: {', '.join(package.name for package in lacking)}; apt-get says why above")
    return lacking


if __name__ == "__main__":  # from `./broch up`, before the command itself
    sys.exit(1 if provide(sys.argv[1:]) else 0)
