"""A Keycloak of the tests' own: the real server from Maven Central, built once and kept, started on an address of ours.

With it an empty database is kept, whose making takes longer than all else at a start; each server gets a copy. Kept below `$XDG_CACHE_HOME/broch-keycloak` (`~/.cache`). It needs Java 17 or 21 and, the first time, Maven.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from keycloak import KeycloakAdmin

from broch.keycloak.desired import Wanted
from broch.keycloak.setup import set_up
from support.ports import free_port

VERSION = "26.7.3"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
_BUILD = (
    "--db=dev-file",
    "--features-disabled=kerberos",
    "--health-enabled=false",
    "--metrics-enabled=false",
)
_JAVA = {
    "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx400m",
    # It lives for minutes: the second compiler and a concurrent collector cost more than they save.
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC",
}
_READY_SECONDS = 600
"""Longest start. Ten seconds on an idle machine; tests of a cluster leave it few."""
_PASSWORD = "a long password for tests"


def cached() -> Path:
    """Return the folder of a built Keycloak; make it if it is not there."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broch-keycloak"
    root.mkdir(parents=True, exist_ok=True)
    stamp = hashlib.sha256("\n".join((VERSION, SHA256, *_BUILD)).encode()).hexdigest()[:12]
    home = root / f"{VERSION}-{stamp}"
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "built").exists():
            _make(root, home)
    return home


def _make(root: Path, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    archive = root / f"keycloak-quarkus-dist-{VERSION}.zip"
    if not archive.exists() or _digest(archive) != SHA256:
        _run(
            ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={root}"],
            root,
        )
    if (found := _digest(archive)) != SHA256:
        pytest.fail(f"{archive} has sha256 {found}, not {SHA256}")
    with tempfile.TemporaryDirectory(dir=root) as name:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(name)
        unpacked = Path(name) / f"keycloak-{VERSION}"
        for script in (unpacked / "bin").glob("*.sh"):
            script.chmod(0o755)
        unpacked.rename(home)
    _run([str(home / "bin" / "kc.sh"), "build", *_BUILD], home)
    (home / "password").touch(mode=0o600)
    (home / "password").write_text(secrets.token_urlsafe(24))
    _fill(home)
    (home / "built").touch()


def _fill(home: Path) -> None:
    """Start it once, so that its database has its tables, the first realm and an administrator."""
    from support.cluster.authority import Authority

    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        folder = Path(name)
        files = Authority().issue("localhost").write(folder / "tls")
        server = Keycloak(
            folder,
            "localhost",
            free_port(),
            files.certificate,
            files.key,
            files.authority,
            listen="127.0.0.1",
        )
        server.launch(home)
        server.stop()
        shutil.copytree(folder / "h2", home / "h2")


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _run(command: Sequence[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.fail(
            f"{command[0]} is not installed. On Debian: apt-get install maven openjdk-17-jre-headless"
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        pytest.fail(f"{command[0]} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


@dataclass
class Keycloak:
    """One running server, with an empty database in its memory."""

    folder: Path
    """For its log and its database."""
    host: str
    port: int
    certificate: Path
    key: Path
    authority: Path
    """Whom to trust to reach it."""
    prefix: Sequence[str] = ()
    """What is run before it: `nsenter --net=...` starts it in another network namespace."""
    listen: str = "0.0.0.0"
    password: str = field(default="", repr=False)
    """Of the administrator, once it runs."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        return f"https://{self.host}:{self.port}"

    def issuer(self, realm: str = "broch") -> str:
        return f"{self.origin}/realms/{realm}"

    def start(self) -> float:
        """Start it and wait until it answers; return the seconds that this took."""
        home = cached()
        shutil.rmtree(self.folder / "h2", ignore_errors=True)
        shutil.copytree(home / "h2", self.folder / "h2")
        began = time.monotonic()
        self.launch(home)
        seconds = time.monotonic() - began
        print(f"keycloak {VERSION} ready in {seconds:.1f} s at {self.origin}")  # noqa: T201 - belongs to what a run shows
        return seconds

    def launch(self, home: Path) -> None:
        """Start it with the database in our folder, which is made if there is none."""
        self.password = (home / "password").read_text()
        database = f"jdbc:h2:file:{self.folder / 'h2' / 'keycloak'};NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE"
        command = [
            *self.prefix, str(home / "bin" / "kc.sh"), "start", "--optimized",
            f"--hostname={self.origin}", f"--http-host={self.listen}", f"--https-port={self.port}",
            f"--https-certificate-file={self.certificate}", f"--https-certificate-key-file={self.key}",
            "--cache=local", f"--truststore-paths={self.authority}", f"--db-url={database}",
        ]  # fmt: skip
        environment = {
            **os.environ,
            **_JAVA,
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.password,
        }
        with (self.folder / "keycloak.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_SECONDS
        probe = ["curl", "-sf", "--cacert", str(self.authority), "-o", "/dev/null", self.issuer("master")]
        while subprocess.run([*self.prefix, *probe], check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                shown = (self.folder / "keycloak.log").read_text(errors="replace")[-3000:]
                self.stop()
                pytest.fail(f"Keycloak did not start:\n{shown}")
            time.sleep(0.5)

    def stop(self) -> None:
        """End it and all that it started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(timeout=20)
        self._process = None

    def admin(self, realm: str = "master") -> KeycloakAdmin:
        """Return its admin API, signed in, for one realm. The caller must reach its address."""
        admin = KeycloakAdmin(
            server_url=self.origin,
            username="admin",
            password=self.password,
            realm_name="master",
            user_realm_name="master",
            verify=str(self.authority),
            timeout=60,
        )
        admin.change_current_realm(realm)
        return admin

    def set_up(self, wanted: Wanted, secret: str) -> list[str]:
        """Do what `broch keycloak setup` does; return what it changed."""
        return list(set_up(self.admin(), wanted, secret))


@contextmanager
def keycloak(**given: Any) -> Iterator[Keycloak]:
    """Run a Keycloak for the time of a `with` block."""
    server = Keycloak(**given)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass(frozen=True)
class Account:
    """Somebody at the provider, with everything that they know and have."""

    id: str
    username: str
    password: str
    otp_secret: str | None

    def code(self, at: float | None = None) -> str:
        """Return the one-time code of a moment (RFC 6238, as authenticator apps do)."""
        assert self.otp_secret is not None
        return totp(self.otp_secret.encode(), time.time() if at is None else at)

    def code_of_the_next(self) -> str:
        """Return the code of the next half minute, which Keycloak takes too: it takes each one once."""
        return self.code(time.time() + 30)

    def with_otp(self, secret: str) -> Account:
        """Return the account with the secret that its owner was shown."""
        return replace(self, otp_secret=secret)


def totp(secret: bytes, at: float) -> str:
    """Return six digits: HOTP (RFC 4226) with SHA-1 of the half minute."""
    digest = hmac.digest(secret, int(at // 30).to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


def add_account(
    admin: KeycloakAdmin,
    username: str,
    *,
    groups: Iterable[str] = (),
    otp: bool = True,
    name: str | None = None,
) -> Account:
    """Add somebody to the realm of `admin`, with a password and, unless told otherwise, a one-time code."""
    first, _, last = (name or f"{username.title()} Test").partition(" ")
    secret = secrets.token_hex(10) if otp else None
    credentials: list[dict[str, Any]] = [{"type": "password", "value": _PASSWORD, "temporary": False}]
    if secret is not None:
        credentials.append(
            {
                "type": "otp",
                "userLabel": "phone",
                "secretData": f'{{"value":"{secret}"}}',
                "credentialData": '{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}',
            }
        )
    user = admin.create_user(
        {
            "username": username,
            "enabled": True,
            "email": f"{username}@example.org",
            "emailVerified": True,
            "firstName": first,
            "lastName": last or "Test",
            "groups": list(groups),
            "credentials": credentials,
        }
    )
    return Account(user, username, _PASSWORD, secret)
