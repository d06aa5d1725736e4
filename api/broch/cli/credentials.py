"""Where the tokens of sign-ins lie: one file, 0600 in a folder 0700, replaced in one step."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from broch.cli.failure import Failure

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Credential:
    """One sign-in at one server."""

    token: str
    handle: str
    expires_at: str
    """RFC 3339, UTC; as the server said."""

    def __repr__(self) -> str:
        """Leave out the token: tracebacks and logs must not carry it."""
        return f"Credential(handle={self.handle!r}, expires_at={self.expires_at!r})"


def config_folder() -> Path:
    """Return `$XDG_CONFIG_HOME/broch`, by default `~/.config/broch` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "broch"


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/broch`, by default `~/.cache/broch` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broch"


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can look into.

    Raises:
        Failure: it cannot be made, is a link, or belongs to somebody else.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Failure(f"{folder} is not a folder of yours.", "Move it away and repeat.")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise Failure(f"{folder} cannot be used: {error.strerror}.") from error
    return folder


def write_private(path: Path, value: Any) -> None:
    """Write JSON to a file 0600, in one step: a reader sees the old content or the new one.

    Raises:
        Failure: it cannot be written.
    """
    folder = private_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")  # 0600 from the start
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error


def read_private(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of ours; one that is not there is empty.

    Raises:
        Failure: others could read or change it, or it is no JSON object.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise Failure(f"{path} is not a plain file of yours.", "Move it away and repeat.")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise Failure(f"Others may read {path}.", f"Close it: chmod 600 '{path}'")
        data = file.read(_LARGEST)
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Failure(f"{path} is damaged.", f"Remove it: rm '{path}'")
    return value


class CredentialStore:
    """The sign-ins of this account, by server."""

    def __init__(self) -> None:
        self._path = config_folder() / "credentials.json"

    def get(self, server: str) -> Credential | None:
        """Return the sign-in at a server.

        Raises:
            Failure: the file is not private or damaged.
        """
        found = read_private(self._path).get(server)
        try:
            return Credential(**found) if isinstance(found, dict) else None
        except TypeError:
            return None

    def put(self, server: str, credential: Credential) -> None:
        """Keep a sign-in, in place of an older one at the same server."""
        with self._locked():
            write_private(self._path, read_private(self._path) | {server: asdict(credential)})

    def drop(self, server: str) -> None:
        """Forget the sign-in at a server."""
        with self._locked():
            kept = read_private(self._path)
            if kept.pop(server, None) is not None:
                write_private(self._path, kept)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two commands at once must not lose each other's sign-in.
        lock = private_folder(self._path.parent) / "lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)
