"""PostgreSQL beside the cluster: over TCP and TLS alone, with the two accounts of a production database."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.cluster.authority import Authority
from support.cluster.places import Place, answers
from support.postgres import ACCOUNT, folder_of_binaries

PORT = 5432
_ACCESS = """\
local   all all               peer
hostssl all all 0.0.0.0/0     scram-sha-256
hostssl all all ::/0          scram-sha-256
"""


@dataclass(frozen=True)
class Database:
    """One database with its two accounts; the server's certificate is of the tests' authority."""

    address: str
    port: int
    name: str
    owner: str
    owner_password: str
    app: str
    app_password: str

    def _url(self, user: str, password: str, authority: str) -> str:
        trust = f"sslmode=verify-full&sslrootcert={authority}" if authority else "sslmode=require"
        return f"postgresql+psycopg://{user}:{password}@{self.address}:{self.port}/{self.name}?{trust}"

    def owner_url(self, authority: str = "") -> str:
        """SQLAlchemy URL of the account that owns the schema.

        Args:
            authority: path of the authority's certificate where the URL is used; empty: not verified.
        """
        return self._url(self.owner, self.owner_password, authority)

    def app_url(self, authority: str = "") -> str:
        """SQLAlchemy URL of the app's account, which owns nothing."""
        return self._url(self.app, self.app_password, authority)


class Databases:
    """A running server that makes empty databases."""

    def __init__(self, place: Place, sockets: Path, binaries: Path) -> None:
        self._place = place
        self._sockets = sockets
        self._binaries = binaries
        self.address = place.address

    def sql(self, database: str, *statements: str) -> str:
        """Run statements as the server's superuser."""
        words = [
            *_as_account(),
            self._binaries / "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self._sockets,
        ]
        done = subprocess.run(
            [*map(str, words), "-d", database],
            input=";\n".join(statements) + ";\n",  # never as words of a command: passwords are among them
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fresh(self) -> Database:
        """Make an empty database and two accounts of its own.

        The owner makes and changes tables but is no superuser and makes no roles; the app's account is a member of
        `broch_app`, to which migrations grant what the app may.
        """
        name = f"broch_{secrets.token_hex(4)}"
        made = Database(
            self.address, PORT, name,
            f"{name}_owner", secrets.token_urlsafe(24), f"{name}_app", secrets.token_urlsafe(24),
        )  # fmt: skip
        self.sql(
            "postgres",
            "DO $$ BEGIN CREATE ROLE broch_app NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            f"CREATE ROLE {made.owner} LOGIN PASSWORD '{made.owner_password}'",
            f"CREATE ROLE {made.app} LOGIN PASSWORD '{made.app_password}' IN ROLE broch_app",
            f"CREATE DATABASE {name} OWNER {made.owner}",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {name} TO {made.app}",
        )
        # The owner of a database does not own its schema `public` (PostgreSQL 15).
        self.sql(
            name, f"ALTER SCHEMA public OWNER TO {made.owner}", "REVOKE ALL ON SCHEMA public FROM PUBLIC"
        )
        return made


def _as_account() -> list[str]:
    return (
        ["setpriv", "--reuid", ACCOUNT, "--regid", "nogroup", "--clear-groups", "--"]
        if os.geteuid() == 0
        else []
    )


@contextmanager
def running_databases(place: Place, authority: Authority) -> Iterator[Databases]:
    """Run PostgreSQL at a place's address for the time of a `with` block."""
    binaries = folder_of_binaries()
    with tempfile.TemporaryDirectory(prefix="brochpg-", dir="/tmp") as name:  # socket paths must be short
        folder = Path(name)
        files = authority.issue("postgres.outside", addresses=[place.address]).write(folder)
        (folder / "access").write_text(_ACCESS)
        for path in (folder, *folder.iterdir()):
            if os.geteuid() == 0:
                shutil.chown(path, ACCOUNT, "nogroup")
        data = folder / "data"
        here = Place(place.address)
        here.run(*_as_account(), binaries / "initdb", "-D", data, "-E", "UTF8", "--no-locale", "--no-sync", "-A", "peer",
                 timeout=120)  # fmt: skip
        options = {
            "listen_addresses": place.address,
            "port": PORT,
            "unix_socket_directories": folder,
            "unix_socket_permissions": "0700",
            "hba_file": folder / "access",
            "ssl": "on",
            "ssl_cert_file": files.certificate,
            "ssl_key_file": files.key,
            "ssl_min_protocol_version": "TLSv1.2",
            "password_encryption": "scram-sha-256",
            "max_connections": 150,
            "fsync": "off",
        }
        words = [binaries / "postgres", "-D", data]
        for option, value in options.items():
            words += ["-c", f"{option}={value}"]
        with place.running(words, folder / "log", account=ACCOUNT, ready=answers(place.address, PORT)):
            yield Databases(place, folder, binaries)
