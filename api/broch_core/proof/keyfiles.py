"""Signing keys in a folder: Ed25519, PKCS #8 PEM, each file 0600 in a folder 0700, rotation with validity periods.

`keys.json` lists every key there ever was, as a trust file does; `<purpose>-<key id>.pem` are the private halves.
A private half is deleted once its period is over: it could sign nothing that a verifier believes, only be stolen.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broch_core.proof.errors import KeyUnavailable
from broch_core.proof.signer import KeySigner
from broch_core.proof.trust import TRUST_LIMIT, Purpose, TrustedKey, TrustFile

OVERLAP = timedelta(hours=1)
"""How long an old key stays valid after rotation: a release that was under way keeps the time it began with."""


class KeyFolder:
    """The signing keys of one Broch, in one folder that nobody else can read."""

    def __init__(self, folder: Path, origin: str) -> None:
        """Name the folder; nothing is read or made yet.

        Args:
            folder: where the keys are.
            origin: name of the log that they sign, for `keys.json` and the trust file.
        """
        self.folder = folder
        self.origin = origin

    def create(self, at: datetime) -> None:
        """Make the folder, and a key for each purpose that has none valid at this moment.

        Raises:
            KeyUnavailable: the folder or a file in it is not safe to use.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            for purpose in Purpose:
                if not any(key.valid_at(at) for key in self._trust().of(purpose)):
                    self._add(purpose, at)

    def trust(self) -> TrustFile:
        """Return all keys, old ones too, with their periods: what `trust.json` says to verifiers.

        Raises:
            KeyUnavailable: the folder is not safe to use, or has no keys.
        """
        trust = self._trust()
        if not trust.keys:
            raise KeyUnavailable(f"There are no signing keys in {self.folder}.")
        return trust

    def signer(self, purpose: Purpose, at: datetime) -> KeySigner:
        """Return the newest key of a purpose that is valid at this moment.

        Raises:
            KeyUnavailable: there is none, or its file is not safe to use.
        """
        valid = [key for key in self._trust().of(purpose) if key.valid_at(at)]
        if not valid:
            raise KeyUnavailable(f"There is no {purpose} key that is valid at {at.isoformat()}.")
        key = max(valid, key=lambda candidate: candidate.not_before)
        pem = _read(self._pem(key), limit=4096)
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnavailable(f"{self._pem(key).name} is no private key.") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyUnavailable(f"{self._pem(key).name} is no Ed25519 key.")
        return KeySigner(private, key)

    def rotate(self, purpose: Purpose, at: datetime, *, overlap: timedelta = OVERLAP) -> TrustedKey:
        """Make a new key, valid from now on; end the older ones after the overlap; delete private keys past their end.

        Args:
            purpose: whose key is renewed.
            at: now.
            overlap: how long the old keys stay valid. Zero when one may have been stolen.

        Raises:
            KeyUnavailable: the folder or a file in it is not safe to use.
        """
        with self._locked():
            end = at + overlap
            keys: list[TrustedKey] = []
            for key in self._trust().keys:
                if key.purpose is not purpose or (key.not_after is not None and key.not_after <= end):
                    keys.append(key)
                elif key.not_before < end:
                    keys.append(replace(key, not_after=end))
                else:
                    raise KeyUnavailable("A key cannot end before it began: wait, or give a longer overlap.")
            new = self._add(purpose, at, keys)
            for key in keys:
                if key.not_after is not None and key.not_after <= at:
                    self._pem(key).unlink(missing_ok=True)
            _sync(self.folder)
            return new

    def _add(self, purpose: Purpose, at: datetime, others: list[TrustedKey] | None = None) -> TrustedKey:
        private = Ed25519PrivateKey.generate()
        key = TrustedKey(purpose, private.public_key().public_bytes_raw(), at)
        # The private half is on the disk before the list names it: a crash between leaves a file that nobody uses.
        _write_new(self._pem(key), private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        known = list(self._trust().keys) if others is None else others
        listing = self.folder / "keys.json.new"
        listing.unlink(missing_ok=True)
        _write_new(listing, TrustFile(self.origin, (*known, key)).dump())
        listing.replace(self.folder / "keys.json")
        _sync(self.folder)
        return key

    def _trust(self) -> TrustFile:
        _check_folder(self.folder)
        try:
            data = _read(self.folder / "keys.json", limit=TRUST_LIMIT)
        except FileNotFoundError:
            return TrustFile(self.origin, ())
        trust = TrustFile.parse(data)
        if trust.origin != self.origin:
            raise KeyUnavailable(
                f"The keys in {self.folder} are for the log {trust.origin}, not {self.origin}."
            )
        return trust

    def _pem(self, key: TrustedKey) -> Path:
        return self.folder / f"{key.purpose}-{key.key_id[:16]}.pem"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        _check_folder(self.folder)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _check_folder(folder: Path) -> None:
    try:
        status = folder.lstat()
    except FileNotFoundError as error:
        raise KeyUnavailable(f"There is no key folder {folder}.") from error
    if not stat.S_ISDIR(status.st_mode):
        raise KeyUnavailable(f"{folder} is not a folder.")
    _check_private(folder, status, "0700")


def _check_private(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise KeyUnavailable(f"{path} belongs to user {status.st_uid}, not to the one Broch runs as.")
    if status.st_mode & 0o077:
        found = stat.S_IMODE(status.st_mode)
        raise KeyUnavailable(f"{path} has mode {found:04o}; others could use it. Run: chmod {mode} {path}")


def _read(path: Path, *, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if path.suffix == ".pem":
            raise KeyUnavailable(f"The private key {path} is missing.") from error
        raise
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be opened: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyUnavailable(f"{path} is not a plain file.")
        _check_private(path, status, "0600")
        if status.st_nlink != 1:
            raise KeyUnavailable(f"{path} has a second name elsewhere.")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise KeyUnavailable(f"{path} is larger than any key file.")
    return data


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
