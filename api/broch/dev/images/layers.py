"""Layers of an image: tar archives that come out the same from the same files, and what one adds to another."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

CHUNK = 1 << 20
_LEVEL = 6


@dataclass(frozen=True)
class Piece:
    """Bytes in the middle of a file on this machine, or in memory."""

    size: int
    path: Path | None = None
    offset: int = 0
    data: bytes = b""

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes.

        Raises:
            EOFError: the file ends too early; it changed since it was listed.
        """
        if self.path is None:
            yield self.data
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.size
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise EOFError(f"{self.path} became shorter while it was read")
                left -= len(chunk)
                yield chunk

    def read(self) -> bytes:
        """Return all of it."""
        return b"".join(self.chunks())


@dataclass(frozen=True)
class Entry:
    """One path in an image; paths are relative, without `./`. Times are not told apart: all are the same moment."""

    kind: str
    """`file`, `folder` or `link`."""
    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    """Where a link points to."""
    piece: Piece = Piece(0)


Tree = Mapping[str, Entry]
"""Entries by path."""

_MODE = 0o1777
"""Set-user-ID and set-group-ID bits are not kept: nothing in an image becomes somebody else."""


def folder(mode: int = 0o755, uid: int = 0) -> Entry:
    """Return a folder of the account `uid`."""
    return Entry("folder", mode, uid, uid)


def text(content: str | bytes, mode: int = 0o644, uid: int = 0) -> Entry:
    """Return a file with this content."""
    data = content.encode() if isinstance(content, str) else content
    return Entry("file", mode, uid, uid, piece=Piece(len(data), data=data))


def read_tar(path: Path) -> dict[str, Entry]:
    """List an uncompressed archive. Hard links become files of their own, devices and sockets are left out."""
    found: dict[str, Entry] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name).as_posix().lstrip("/")
            owner = (member.mode & _MODE, member.uid, member.gid)
            if member.isdir():
                found[name] = Entry("folder", *owner)
            elif member.issym():
                found[name] = Entry("link", 0o777, member.uid, member.gid, member.linkname)
            elif member.isreg():
                found[name] = Entry("file", *owner, piece=Piece(member.size, path, member.offset_data))
            elif member.islnk():
                found[name] = found[PurePosixPath(member.linkname).as_posix()]
    found.pop(".", None)
    return found


def read_folder(root: Path, below: str, *, executable: bool = True) -> dict[str, Entry]:
    """List a folder of this machine as what lies at the path `below` in an image, all owned by root.

    Modes become 0644 or 0755: what the umask was here does not show. Raises ValueError for what is neither a
    file, a folder nor a link.
    """
    found: dict[str, Entry] = dict(parents(below))
    for place, below_it, names in os.walk(root):
        inside = PurePosixPath(below, Path(place).relative_to(root).as_posix())
        found[inside.as_posix()] = folder()
        for name in [*names, *(one for one in below_it if Path(place, one).is_symlink())]:
            path = Path(place, name)
            state = path.lstat()
            target = (inside / name).as_posix()
            if stat.S_ISLNK(state.st_mode):
                found[target] = Entry("link", 0o777, target=str(path.readlink()))
            elif stat.S_ISREG(state.st_mode):
                mode = 0o755 if executable and state.st_mode & 0o100 else 0o644
                found[target] = Entry("file", mode, piece=Piece(state.st_size, path))
            else:
                raise ValueError(f"{path} is neither a file, a folder nor a link")
    return found


def parents(path: str) -> dict[str, Entry]:
    """Return the folders above a path, from the top."""
    above = [one.as_posix() for one in PurePosixPath(path).parents if one.as_posix() not in {".", "/"}]
    return {one: folder() for one in reversed(above)}


def _digest(entry: Entry) -> str:
    digest = hashlib.sha256()
    for chunk in entry.piece.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _same(one: Entry, other: Entry) -> bool:
    if replace(one, piece=Piece(0)) != replace(other, piece=Piece(0)) or one.piece.size != other.piece.size:
        return False
    return one.kind != "file" or _digest(one) == _digest(other)


def difference(below: Tree, above: Tree) -> dict[str, Entry]:
    """Return what a layer must hold to make `above` out of `below`: what is new or other, and marks of what is gone."""
    found = {
        path: entry for path, entry in above.items() if path not in below or not _same(below[path], entry)
    }
    for path in below:
        if path not in above:
            place = PurePosixPath(path)
            if place.parent.as_posix() == "." or place.parent.as_posix() in above:
                found[(place.parent / f".wh.{place.name}").as_posix()] = text("")
    # The folders above come along as they are, or an unpacker would make them up.
    for path in list(found):
        for one in PurePosixPath(path).parents:
            if one.as_posix() in above:
                found.setdefault(one.as_posix(), above[one.as_posix()])
    return found


@dataclass(frozen=True)
class Layer:
    """One finished layer on disk."""

    path: Path
    digest: str
    """sha256 of the file, compressed: what registries ask for."""
    size: int
    diff_id: str
    """sha256 of the archive itself: what does not depend on the version of zlib."""


class _Gzip:
    """Compresses what is written, and counts both sides. No name and no time in the header."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        self.outside, self.inside = hashlib.sha256(), hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.inside.update(data)
        self._put(self._deflate.compress(data))
        return len(data)

    def finish(self) -> None:
        self._put(self._deflate.flush())

    def _put(self, data: bytes) -> None:
        self.outside.update(data)
        self.size += len(data)
        self._out.write(data)


def _member(path: str, entry: Entry, epoch: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.uid, member.gid, member.mtime = entry.mode, entry.uid, entry.gid, epoch
    match entry.kind:
        case "folder":
            member.type = tarfile.DIRTYPE
        case "link":
            member.type, member.linkname = tarfile.SYMTYPE, entry.target
        case _:
            member.size = entry.piece.size
    return member


def _in_order(paths: Iterable[str]) -> list[str]:
    # By the parts and not by the text: a folder comes right before what is in it.
    return sorted(paths, key=lambda path: PurePosixPath(path).parts)


def write_layer(tree: Tree, path: Path, epoch: int) -> Layer:
    """Write a compressed archive of `tree` at `path`."""
    with path.open("wb") as out:
        packed = _Gzip(out)
        for name in _in_order(tree):
            member = _member(name, tree[name], epoch)
            packed.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
            if member.isreg():
                for chunk in tree[name].piece.chunks():
                    packed.write(chunk)
                packed.write(b"\0" * (-member.size % tarfile.BLOCKSIZE))
        packed.write(b"\0" * (2 * tarfile.BLOCKSIZE))
        packed.finish()
    return Layer(
        path, f"sha256:{packed.outside.hexdigest()}", packed.size, f"sha256:{packed.inside.hexdigest()}"
    )


def unpack(tree: Tree, root: Path) -> None:
    """Write `tree` below `root`, as files of whoever asks, to be looked at or run in a sandbox."""
    for name in _in_order(tree):
        entry, path = tree[name], root / name
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.kind == "link":
            path.symlink_to(entry.target)
        else:
            with path.open("wb") as file:
                file.writelines(entry.piece.chunks())
            path.chmod(entry.mode | 0o600)
