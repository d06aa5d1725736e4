"""Unfinished uploads as plain files. What is acknowledged is synced to disk first; the digest grows with the bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from broch_airlock.uploads.errors import InUse, NoSpace
from broch_airlock.uploads.space import require_space
from broch_core.blobs import CHUNK
from broch_core.errors import NotFound

_DIGESTS_LARGEST = 512
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Partials:
    """The folder of unfinished uploads; names are ids of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._busy: set[str] = set()
        self._digests: OrderedDict[str, tuple[int, hashlib._Hash]] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, upload_id: str) -> Path:
        """Return where the bytes of an upload lie."""
        return self._folder / upload_id

    def create(self, upload_id: str) -> None:
        """Make the empty file of a new upload."""
        with self.path(upload_id).open("xb"):
            pass

    @contextmanager
    def claim(self, upload_id: str) -> Iterator[None]:
        """Be the only one who touches the upload.

        Raises:
            InUse: somebody else is.
        """
        with self._lock:
            if upload_id in self._busy:
                raise InUse("Another request is writing this upload.", remedy="Wait a moment and ask again.")
            self._busy.add(upload_id)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(upload_id)

    def open(self, upload_id: str, offset: int) -> Appender:
        """Open a claimed upload for appending at `offset`; bytes beyond it were never acknowledged and are cut off.

        Raises:
            NotFound: its bytes are gone.
        """
        with self._lock:
            known = self._digests.pop(upload_id, None)
        digest = known[1] if known is not None and known[0] == offset else None
        return Appender(self, upload_id, offset, digest)

    def remember(self, upload_id: str, offset: int, digest: hashlib._Hash) -> None:
        """Keep the digest of what is there, so that the next part need not read it again."""
        with self._lock:
            self._digests[upload_id] = (offset, digest)
            while len(self._digests) > _DIGESTS_LARGEST:
                self._digests.popitem(last=False)

    def drop(self, upload_id: str) -> None:
        """Delete a claimed upload's bytes; done already is done."""
        with self._lock:
            self._digests.pop(upload_id, None)
        with suppress(FileNotFoundError):
            self.path(upload_id).unlink()

    def names(self) -> list[str]:
        """Return the ids of all uploads whose bytes lie here."""
        return sorted(path.name for path in self._folder.iterdir())


class Appender:
    """Appends to one upload and knows the digest of the whole."""

    def __init__(self, partials: Partials, upload_id: str, offset: int, digest: hashlib._Hash | None) -> None:
        self._partials = partials
        self._upload_id = upload_id
        try:
            self._file = partials.path(upload_id).open("r+b", buffering=0)
        except FileNotFoundError:
            raise NotFound("The bytes of this upload are no longer kept.") from None
        try:
            self._require(offset)
            self._file.truncate(offset)
            self._digest = digest or self._read_again(offset)
        except BaseException:
            self._file.close()
            raise
        self.offset = offset
        """Bytes that are there."""
        self.synced = offset
        """Bytes that are on disk for certain."""
        self._sure = self._digest.copy()

    def _require(self, offset: int) -> None:
        if os.fstat(self._file.fileno()).st_size < offset:
            raise NotFound("The bytes of this upload are no longer kept.")

    def _read_again(self, offset: int) -> hashlib._Hash:
        digest = hashlib.sha256()
        self._file.seek(0)
        left = offset
        while left and (data := self._file.read(min(CHUNK, left))):
            digest.update(data)
            left -= len(data)
        return digest

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            NoSpace: the disk is nearly full.
        """
        require_space(self._partials.path(self._upload_id).parent)
        try:
            self._file.seek(self.offset)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace("The disk of the airlock is full.", remedy="Ask your administrator.") from error
            raise
        self._digest.update(data)
        self.offset += len(data)

    def sync(self) -> int:
        """Force what is there to disk; return the offset that may be acknowledged."""
        os.fsync(self._file.fileno())
        self.synced = self.offset
        self._sure = self._digest.copy()
        return self.synced

    def hexdigest(self) -> str:
        """Return the SHA-256 of all bytes so far."""
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partials.remember(self._upload_id, self.synced, self._sure)
