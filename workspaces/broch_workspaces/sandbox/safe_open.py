"""Reading a folder that a hostile process may be writing to at this moment.

Every name is resolved by openat2(2) beneath the folder, without following any link. A name is first opened as a place
only (O_PATH): looking at a device or a FIFO must not set anything off. What is read is copied and hashed in one pass,
and only the copy is used afterwards: the original may change at any time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYS_OPENAT2 = 437  # the same number on x86_64 and aarch64
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_CHUNK = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class UnsafePath(PermissionError):
    """The name leads out of the folder, through a link, or to something that is not a plain file."""


class FileTooLarge(OSError):
    """The file is longer than the caller takes, now or while it was read."""


@dataclass(frozen=True)
class Entry:
    """One line of a file picker."""

    name: str
    is_folder: bool
    size: int
    """Bytes; 0 for a folder."""
    modified_ns: int
    """Nanoseconds since 1970, as the writer of the file claims."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds that can be shown."""

    entries: tuple[Entry, ...]
    left_out: int
    """Links, devices, sockets, FIFOs, files with several links, and names that are not UTF-8."""
    truncated: bool
    """Whether there was more than the limit."""


@dataclass(frozen=True)
class Copied:
    """What was copied, byte for byte."""

    size: int
    sha256: str


def _checked(rel: str) -> bytes:
    if not rel or "\0" in rel:
        raise UnsafePath(errno.EINVAL, "not a file name", rel)
    try:
        return rel.encode("utf-8")
    except UnicodeEncodeError:
        raise UnsafePath(errno.EINVAL, "not a file name in UTF-8", rel) from None


def _openat2(root: int, rel: str, flags: int) -> int:
    how = struct.pack("QQQ", flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _RESOLVE)
    name = _checked(rel)
    for _ in range(100):
        fd = int(_libc.syscall(_SYS_OPENAT2, root, name, how, ctypes.c_size_t(len(how))))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        # The kernel says EAGAIN when a folder was renamed while it looked: it cannot be sure, so it asks again.
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    if number in (errno.ELOOP, errno.EXDEV, errno.EAGAIN):
        raise UnsafePath(number, "the path goes through a link or out of the folder", rel)
    raise OSError(number, os.strerror(number), rel)


@contextlib.contextmanager
def _folder(root: Path, rel: str = "") -> Iterator[int]:
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if rel in ("", "."):
            yield top
            return
        fd = _openat2(top, rel, os.O_PATH | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        os.close(top)


def _is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def open_beneath(root: Path, rel: str) -> int:
    """Return a descriptor for reading the regular file `rel` beneath `root`. The caller closes it.

    Raises:
        UnsafePath: a link on the way, a way out, or anything but a regular file with one link.
        OSError: as open(2).
    """
    with _folder(root) as top:
        place = _openat2(top, rel, os.O_PATH)
    try:
        if not _is_plain(os.fstat(place)):
            raise UnsafePath(errno.EPERM, "only a plain file with one name can be used", rel)
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(place)
    if not _is_plain(os.fstat(fd)):
        os.close(fd)
        raise UnsafePath(errno.EPERM, "only a plain file with one name can be used", rel)
    return fd


def list_beneath(root: Path, rel: str = "", *, limit: int = 1000) -> Listing:
    """List the folder `rel` beneath `root`, names in order; at most `limit` directory entries are looked at.

    Raises:
        UnsafePath: a link on the way or a way out.
        OSError: as open(2); `NotADirectoryError` for a file.
    """
    entries: list[Entry] = []
    left_out = seen = 0
    with _folder(root, rel) as place:
        folder = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(folder) as found:
                for item in found:
                    if seen == limit:
                        return Listing(_in_order(entries), left_out, truncated=True)
                    seen += 1
                    entry = _entry(folder, item.name)
                    if entry is None:
                        left_out += 1
                    else:
                        entries.append(entry)
        finally:
            os.close(folder)
    return Listing(_in_order(entries), left_out, truncated=False)


def _in_order(entries: list[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (not entry.is_folder, entry.name)))


def _entry(folder: int, name: str) -> Entry | None:
    try:
        name.encode("utf-8")
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (OSError, UnicodeEncodeError):
        return None
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, is_folder=True, size=0, modified_ns=status.st_mtime_ns)
    if _is_plain(status):
        return Entry(name, is_folder=False, size=status.st_size, modified_ns=status.st_mtime_ns)
    return None


def copy_beneath(root: Path, rel: str, out: int, *, max_bytes: int) -> Copied:
    """Copy the regular file `rel` beneath `root` to the descriptor `out`, hashing what is written.

    Args:
        root: the hostile folder.
        rel: path beneath it.
        out: descriptor open for writing; flushing to disk is the caller's.
        max_bytes: refuse longer files; also the most that is ever written.

    Raises:
        FileTooLarge: the file is, or grew, longer than `max_bytes`. What stands in `out` is then of no use.
        UnsafePath: see `open_beneath`.
    """
    fd = open_beneath(root, rel)
    try:
        if os.fstat(fd).st_size > max_bytes:
            raise FileTooLarge(errno.EFBIG, "the file is too large", rel)
        digest, size = hashlib.sha256(), 0
        while chunk := os.read(fd, min(_CHUNK, max_bytes - size + 1)):
            size += len(chunk)
            if size > max_bytes:
                raise FileTooLarge(errno.EFBIG, "the file grew while it was read", rel)
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(out, view) :]
        return Copied(size, digest.hexdigest())
    finally:
        os.close(fd)
