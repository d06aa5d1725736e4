"""Walks one file: says what it is, unfolds containers, sends every member out. Nothing is ever written to disk."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from typing import IO

from broch_airlock.checks import names
from broch_airlock.checks.inside import zips
from broch_airlock.checks.inside.kinds import (
    BY_NAME_UNSUPPORTED,
    HEAD,
    ZIP,
    Kind,
    extension,
    kind_of,
    mismatch,
)
from broch_airlock.checks.inside.records import RecordWriter
from broch_airlock.checks.inside.streams import CHUNK, Budget, Decompressed, Stream, Unreadable, held
from broch_airlock.checks.inside.tar import TarMember, tar_members
from broch_airlock.checks.inside.texts import NotJson, json_parts, uris_of_text
from broch_airlock.checks.model import Direction, Finding, Limits, Verdict

_PACKED_SUFFIX = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz"}
_SHORT_SUFFIX = re.compile(r"\.(tgz|tbz2?|txz)$", re.IGNORECASE)


class Walk:
    """One file and everything in it.

    Args:
        file: number of the file in the job.
        limits: how much may unfold.
        stored_bytes: size of the file.
        direction: executables are for people to look at on the way in, and blocked on the way out.
        out: where members go.
    """

    def __init__(
        self, file: int, limits: Limits, stored_bytes: int, direction: Direction, out: RecordWriter
    ) -> None:
        self._file = file
        self._limits = limits
        self._budget = Budget(limits, stored_bytes)
        self._direction = direction
        self._out = out
        self._names: set[tuple[str, str]] = set()
        self._tar_bytes = 0
        self.findings: list[Finding] = []

    def run(self, name: str, file: IO[bytes], size: int) -> None:
        """Look at the whole file; findings are in `findings` afterwards."""
        try:
            self._top(name, file, size)
        except Unreadable as error:
            self._find("archive_limits", error.rule, Verdict.UNSCANNABLE, error.where, error.message)
        except MemoryError:
            message = "Looking at it needs more memory than a check may use."
            self._find("archive_limits", "memory", Verdict.UNSCANNABLE, "", message)
        except RecursionError:
            self._find("archive_limits", "depth", Verdict.UNSCANNABLE, "", "It is nested too deeply.")

    def _find(self, check: str, rule: str, verdict: Verdict, where: str, message: str) -> None:
        self.findings.append(Finding(check, rule, verdict, where, message))

    def _top(self, name: str, file: IO[bytes], size: int) -> None:
        stream = Stream(file.read)
        kind = kind_of(stream.peek(HEAD))
        if kind.name != "zip":
            file.seek(max(0, size - zips.END_SEARCHED))
            disguised = zips.END_SIGNATURE in file.read(zips.END_SEARCHED) and zipfile.is_zipfile(file)
            file.seek(0)
            stream = Stream(file.read)
            if disguised:
                self._judge(kind, name, "")
                message = f"It is {kind.name} at its start and a zip archive at its end."
                self._find("content_type", "two-kinds", Verdict.FLAGGED, "", message)
                kind = ZIP
                self._zip(file, size, "", 1)
                return
        self._judge(kind, name, "")
        if kind.name == "zip":
            self._zip(file, size, "", 1)
        else:
            self._unfold(kind, stream, name, "", 1)

    def _judge(self, kind: Kind, name: str, where: str) -> None:
        """Say what is notable about the kind of content alone."""
        check = "content_type"
        if mismatch(name, kind):
            self._find(
                check,
                "mismatch",
                Verdict.FLAGGED,
                where,
                f"The name says .{extension(name)}, it is {kind.name}.",
            )
        if kind.family == "executable":
            verdict = Verdict.BLOCKED if self._direction is Direction.EGRESS else Verdict.FLAGGED
            self._find(check, "executable", verdict, where, f"It is a program ({kind.name}).")
        elif kind.family == "pickle":
            self._find(
                check, "pickle", Verdict.FLAGGED, where, "It is a Python pickle: opening it can run code."
            )
        elif kind.family == "unknown" and name:  # a decoded string or a gap has no name and needs no kind
            self._find(
                check, "unknown", Verdict.FLAGGED, where, "Its kind is not known: a person has to look."
            )

    def _unfold(self, kind: Kind, stream: Stream, name: str, where: str, depth: int) -> None:
        """Unfold what is a container (depth: that of its members) and read the stream to its end."""
        unopened = kind.family in {"unknown", "data"} and extension(name) in BY_NAME_UNSUPPORTED
        if kind.family == "unsupported" or unopened:
            what = kind.name if kind.family == "unsupported" else f".{extension(name)}"
            raise self._at(
                Unreadable("unsupported", f"Containers of the kind {what} cannot be looked into."), where
            )
        if kind.name == "zip":
            with self._held(stream, self._limits.max_held_bytes, "A nested zip") as content:
                self._zip(io.BytesIO(content), len(content), where, depth)
        elif kind.name == "tar":
            self._tar(stream, where, depth)
        elif kind.name in _PACKED_SUFFIX:
            self._packed(kind.name, stream, name, where, depth)
        elif kind.name in {"notebook", "json"} or extension(name) == "ipynb":
            self._json(kind, stream, name, where, depth)
        elif kind.family == "text":
            self._text(kind, stream, where, depth)
        else:
            self._opaque(stream, where)

    def _opaque(self, stream: Stream, where: str) -> None:
        tail = b""
        while part := stream.read():
            tail = (tail + part)[-zips.END_SEARCHED :]
        if where and zips.END_SIGNATURE in tail:
            raise self._at(Unreadable("two-kinds", "It ends in a zip archive that does not begin it."), where)

    def _at(self, error: Unreadable, where: str) -> Unreadable:
        error.where = error.where or where
        return error

    @contextmanager
    def _held(self, stream: Stream, most: int, what: str) -> Iterator[bytes]:
        content = held(stream, self._budget, most, what)
        try:
            yield content
        finally:
            self._budget.hold(-len(content))

    def _member(self, read: Callable[[int], bytes], name: str, where: str, depth: int) -> None:
        """Send one member out while it is looked at."""
        number: int | None = None
        whole = False
        try:
            self._budget.member(depth)
            number = self._out.begin(self._file, where)
            given = number

            def copy(size: int) -> bytes:
                part = read(size)
                if part:
                    self._budget.expand(len(part))
                    self._out.data(self._file, given, part)
                return part

            stream = Stream(copy)
            kind = kind_of(stream.peek(HEAD))
            self._judge(kind, name, where)
            self._unfold(kind, stream, name, where, depth + 1)
            stream.drain()
            whole = True
        except Unreadable as error:
            raise self._at(error, where) from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            LZMAError,
            EOFError,
            OSError,
            NotImplementedError,
            ValueError,
        ) as error:
            raise self._at(Unreadable("damaged", f"A member cannot be read: {error}."), where) from None
        except RuntimeError as error:  # zipfile says so of encrypted members
            raise self._at(Unreadable("encrypted", f"A member cannot be read: {error}."), where) from None
        finally:
            if number is not None:
                self._out.end(self._file, number, whole=whole)

    def _content(self, content: bytes, name: str, where: str, depth: int) -> None:
        self._member(io.BytesIO(content).read, name, where, depth)

    def _hygiene(self, container: str, path: str, where: str) -> None:
        self.findings += names.member_findings(path, where)
        if (container, path) in self._names:
            message = "Two members have the same path: programs differ in which one they take."
            self._find("archive_limits", "duplicate", Verdict.FLAGGED, where, message)
        self._names.add((container, path))

    def _zip(self, file: IO[bytes], size: int, where: str, depth: int) -> None:
        with zips.open_zip(file) as archive:
            if len(archive.infolist()) + self._budget.members > self._limits.max_members:
                raise Unreadable("members", f"There are more than {self._limits.max_members} members.")
            for start, end in zips.hidden_bytes(file, archive, size):
                message = f"{end - start} bytes at {start} belong to no member."
                self._find("archive_limits", "hidden", Verdict.FLAGGED, where, message)
                file.seek(start)
                self._content(
                    file.read(min(end - start, CHUNK * 64)), "", f"{where} [bytes {start} to {end}]", depth
                )
            for member in archive.infolist():
                path = member.orig_filename
                place = _inside(where, path)
                if zips.encrypted(member):
                    raise self._at(Unreadable("encrypted", "A member is encrypted."), place)
                self._hygiene(where, path, place)
                if zips.is_link(member):
                    self._find("archive_limits", "link", Verdict.FLAGGED, place, "It is a symbolic link.")
                if member.is_dir() and not member.file_size and not member.compress_size:
                    self._budget.member(depth)
                    continue
                if member.file_size > self._limits.max_file_bytes:
                    raise self._at(Unreadable("member-size", "A member is larger than a file may be."), place)
                try:
                    content = archive.open(member)
                except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, LZMAError) as error:
                    raise self._at(
                        Unreadable("damaged", f"A member cannot be opened: {error}."), place
                    ) from None
                except RuntimeError:
                    raise self._at(Unreadable("encrypted", "A member is encrypted."), place) from None
                with content:
                    self._member(content.read, path, place, depth)

    def _tar(self, stream: Stream, where: str, depth: int) -> None:
        for member in tar_members(stream):
            place = _inside(where, member.path)
            self._hygiene(where, member.path, place)
            if member.regular:
                if member.size > self._limits.max_file_bytes:
                    raise self._at(Unreadable("member-size", "A member is larger than a file may be."), place)
                self._member(member.content.read, member.path, place, depth)
            elif not member.folder:
                self._special(member, place)
                self._budget.member(depth)
            else:
                self._budget.member(depth)

    def _special(self, member: TarMember, place: str) -> None:
        check = "archive_limits"
        if member.kind in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
            out = member.link.startswith("/") or ".." in member.link.split("/")
            verdict = Verdict.BLOCKED if out else Verdict.FLAGGED
            self._find(check, "link", verdict, place, f"It is a link to {member.link}")
        else:
            self._find(check, "device", Verdict.BLOCKED, place, "It is a device or a pipe, not a file.")

    def _packed(self, kind: str, stream: Stream, name: str, where: str, depth: int) -> None:
        unpacked = Decompressed(kind, stream)
        inner = Stream(unpacked.read)
        suffix = _PACKED_SUFFIX[kind]
        plain = name[: -len(suffix)] if name.lower().endswith(suffix) else _SHORT_SUFFIX.sub(".tar", name)
        if kind_of(inner.peek(HEAD)).name == "tar":
            # Its members go out one by one; the tar around them has nothing to add, and the depth is one.
            self._tar(Stream(lambda size: self._counted(inner.read(size))), where, depth)
            inner.drain()
        else:
            self._member(inner.read, plain, _inside(where, plain.rpartition("/")[2] or kind), depth)

    def _counted(self, part: bytes) -> bytes:
        # Members count what they read themselves; headers and padding are bounded here.
        self._tar_bytes += len(part)
        if self._tar_bytes > 2 * self._limits.max_expanded_bytes:
            raise Unreadable("expanded", "The tar archive is too large.")
        return part

    def _json(self, kind: Kind, stream: Stream, name: str, where: str, depth: int) -> None:
        notebook = kind.name == "notebook" or extension(name) == "ipynb"
        if (
            not notebook
            and len(stream.peek(self._limits.max_document_bytes + 1)) > self._limits.max_document_bytes
        ):
            self._text(kind, stream, where, depth)  # large plain data: searched as text
            return
        with self._held(stream, self._limits.max_document_bytes, "A notebook") as content:
            try:
                for place, part in json_parts(content):
                    self._content(part, "", _inside(where, place), depth)
            except NotJson as error:
                if notebook:
                    raise self._at(
                        Unreadable("damaged", f"The notebook is not JSON: {error}."), where
                    ) from None
            self._text(kind, Stream(io.BytesIO(content).read), where, depth)

    def _text(self, kind: Kind, stream: Stream, where: str, depth: int) -> None:
        longest = self._limits.max_document_bytes
        for number, (content, binary) in enumerate(
            uris_of_text(stream, longest, utf16=kind.name == "utf-16")
        ):
            if binary:
                message = "It begins as text and goes on as binary data."
                self._find("content_type", "binary-in-text", Verdict.FLAGGED, where, message)
            else:
                self._content(content, "", _inside(where, f"data: URI {number + 1}"), depth)


def _inside(where: str, path: str) -> str:
    return f"{where} > {path}" if where else path
