"""A PostgreSQL of the tests' own: a throw-away cluster in a temporary folder, on a Unix socket, without a network."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

ACCOUNT = "nobody"
_names = itertools.count(1)


class Cluster:
    """A running PostgreSQL that makes empty databases."""

    def __init__(self, sockets: Path, user: str) -> None:
        self._sockets = sockets
        self._user = user

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{self._user}@/{database}?host={self._sockets}"

    def fresh(self) -> str:
        """Make an empty database; return its SQLAlchemy URL."""
        name = f"broch_{next(_names)}"
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)


def folder_of_binaries() -> Path:
    found = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: -float(p.parts[-3])),
        *(Path(p) for p in (shutil.which("initdb"),) if p),
    ]
    if not found:
        pytest.fail(
            "PostgreSQL is not installed: no initdb on PATH or in /usr/lib/postgresql/*/bin. "
            "On Debian: apt-get install postgresql"
        )
    return found[0].parent


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Run a PostgreSQL for the time of a `with` block; as root under the account `nobody`, since it refuses root.

    Args:
        durable: commits wait for the disk, as in production. Tests of behaviour need not.
    """
    binaries = folder_of_binaries()
    root = os.geteuid() == 0
    user = pwd.getpwnam(ACCOUNT) if root else pwd.getpwuid(os.geteuid())
    with tempfile.TemporaryDirectory(prefix="brochpg-", dir="/tmp") as name:  # socket paths must be short
        folder = Path(name)
        data = folder / "data"
        if root:
            os.chown(folder, user.pw_uid, user.pw_gid)

        def run(*words: str | Path) -> None:
            done = subprocess.run(
                [str(word) for word in words],
                user=user.pw_uid if root else None,
                group=user.pw_gid if root else None,
                extra_groups=[] if root else None,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=(folder / "out").open("wb"),
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": str(folder)},
                timeout=120,
                check=False,
            )
            if done.returncode:
                shown = (folder / "out").read_text(errors="replace")[-2000:]
                pytest.fail(f"{words[0]} failed with {done.returncode}:\n{shown}")

        run(
            binaries / "initdb",
            "-D", data, "-U", user.pw_name, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip
        options = (
            f"-c listen_addresses='' -k {folder} -c fsync={'on' if durable else 'off'} -c max_connections=120"
        )
        run(binaries / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log", "-o", options, "start")
        try:
            yield Cluster(folder, user.pw_name)
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
