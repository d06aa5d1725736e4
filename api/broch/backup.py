"""A copy of a whole Broch while it runs: everything that its database speaks of is in it, as it was at one moment.

Bytes in `blobs` and `datasets` never change under their names. So most are copied beforehand; then nobody may write to the
database for the moment in which it and the rest are copied. What a commit deletes, it deletes afterwards: with the lock
held, every row's bytes are there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broch import identity
from broch_core.audit.verification import VerifyResult, verify_database
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.proof import TrustFile
from broch_core.settings import Settings
from broch_core.store.engine import make_engine

IMMUTABLE = ("datasets", "blobs")
LIVE = ("zones",)
"""Files of researchers, who may be at work: each is as it was when it was copied."""
LEFT_OUT = frozenset({"blobs/tmp"})
_LOCK_SECONDS = 30.0


@dataclass(frozen=True)
class BackupReport:
    """What was copied."""

    files: int
    bytes: int
    verified: VerifyResult
    """Of the audit log in the copy."""


def back_up(settings: Settings, target: Path) -> BackupReport:
    """Copy the folder of an instance, running or not, and verify the copy.

    Args:
        settings: of the instance.
        target: a folder that does not exist yet; it appears when it is whole.

    Raises:
        Conflict: the target exists or lies within the folder, the database is on a server, or the copy does not verify.
    """
    folder = settings.folder
    source = folder / "broch.sqlite"
    if settings.database_url is not None:
        raise Conflict(
            "The database is on a server, which has backups of its own.",
            remedy="Stop Broch, copy the database (pg_dump) and the folder, and start it again.",
        )
    if not source.exists():
        raise Conflict(f"There is no Broch in {folder}.")
    if target.exists() or target.resolve().is_relative_to(folder.resolve()):
        raise Conflict(
            f"{target} is there already, or lies within {folder}.", remedy="Name a new folder elsewhere."
        )
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    copied = _Copy(folder, partial)
    for name in (*IMMUTABLE, *LIVE):
        copied.tree(name)
    with _writers_wait(source):
        _copy_database(source, partial / source.name)
        _copy_keys(folder / "keys", copied)
        for name in IMMUTABLE:
            copied.tree(name)
    verified = _verify(partial, settings.log_name)
    found = identity.read(folder) or identity.Identity("", identity.State.BACKUP)
    identity.write(
        partial, replace(found, state=identity.State.BACKUP, recorded=True, inodes={}, stopped_ns=None)
    )
    shutil.copystat(folder, partial)
    copied.own(folder, partial)
    for name in (source.name, identity.NAME):
        copied.own(source, partial / name)
    os.sync()
    partial.rename(target)
    return BackupReport(copied.files, copied.bytes, verified)


class _Copy:
    """Copies trees, and in a second round what is new."""

    def __init__(self, folder: Path, target: Path) -> None:
        self._folder = folder
        self._target = target
        self.files = 0
        self.bytes = 0

    def tree(self, name: str) -> None:
        """Copy a folder below the root; files that the copy has already stay, but unfinished uploads come anew."""
        if (self._folder / name).is_dir():
            self._into(name)

    def _into(self, name: str) -> None:
        target = self._target / name
        target.mkdir(mode=0o700, exist_ok=True)
        try:
            entries = list(os.scandir(self._folder / name))
        except FileNotFoundError:
            return
        for entry in entries:
            inner = f"{name}/{entry.name}"
            if inner in LEFT_OUT:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    self._into(inner)
                else:
                    self.file(inner, anew=name.startswith("blobs/uploads"))
            except FileNotFoundError:  # gone since: nothing that the database speaks of
                continue
        shutil.copystat(self._folder / name, target)
        self.own(self._folder / name, target)

    def file(self, name: str, *, anew: bool = False) -> None:
        """Copy one file or link; sockets and pipes are left out."""
        source, target = self._folder / name, self._target / name
        status = source.lstat()
        if stat.S_ISLNK(status.st_mode):
            if not target.is_symlink():
                target.symlink_to(source.readlink())
        elif stat.S_ISREG(status.st_mode):
            if target.exists() and not anew:
                return
            aside = target.with_name(f".{target.name}.new"[:255])
            try:
                shutil.copy2(source, aside, follow_symlinks=False)
                aside.replace(target)
            finally:
                aside.unlink(missing_ok=True)  # the original may go while it is copied
            self.files += 1
            self.bytes += status.st_size
        else:
            return
        self.own(source, target)

    @staticmethod
    def own(source: Path, target: Path) -> None:
        """Give a copy the owner of the original, where we may."""
        if os.geteuid() == 0:
            status = source.lstat()
            os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


@contextmanager
def _writers_wait(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _copy_database(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    with closing(sqlite3.connect(source)) as running, closing(sqlite3.connect(target)) as copy:
        running.backup(copy)
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise Conflict(f"The database is damaged: {found}")


def _copy_keys(keys: Path, copied: _Copy) -> None:
    descriptor = os.open(keys, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # no rotation in between
        copied.tree("keys")
    finally:
        os.close(descriptor)


def _verify(folder: Path, origin: str) -> VerifyResult:
    trust = TrustFile.parse((folder / "keys" / "keys.json").read_bytes())
    if trust.origin != origin:
        raise Conflict(f"The keys are for the log {trust.origin}, the settings name {origin}.")
    engine = make_engine(f"sqlite:///{folder / 'broch.sqlite'}")
    try:
        result = verify_database(engine, trust, live_at=utc_now())
    finally:
        engine.dispose()
    for suffix in ("-wal", "-shm"):
        (folder / f"broch.sqlite{suffix}").unlink(missing_ok=True)
    if not result.ok:
        raise Conflict(f"The audit log in the copy is not as it was signed: {result.reason}")
    return result
