"""What a file is, by its content (`content_type`)."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass

import filetype
from filetype.types import archive as filetype_archives

HEAD = 36 << 10
"""Bytes looked at. ISO 9660 shows itself at 32 KiB."""


@dataclass(frozen=True)
class Kind:
    """A kind of content.

    Args:
        name: short name or media type.
        family: `text`, `container` (walked here), `unsupported` (a container nobody opens), `executable`, `pickle`,
            `data`, `empty` or `unknown`.
    """

    name: str
    family: str


ZIP, TAR = Kind("zip", "container"), Kind("tar", "container")
EMPTY, UNKNOWN = Kind("empty", "empty"), Kind("unknown", "unknown")

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"PK\x07\x08", ZIP),
    (0, b"\x1f\x8b\x08", Kind("gzip", "container")),
    (0, b"\xfd7zXZ\0", Kind("xz", "container")),
    (0, b"\x28\xb5\x2f\xfd", Kind("zstd", "unsupported")),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z", "unsupported")),
    (0, b"Rar!\x1a\x07", Kind("rar", "unsupported")),
    (0, b"xar!", Kind("xar", "unsupported")),
    (0, b"\x04\x22\x4d\x18", Kind("lz4", "unsupported")),
    (0, b"\x02\x21\x4c\x18", Kind("lz4", "unsupported")),
    (0, b"LZIP", Kind("lzip", "unsupported")),
    (0, b"\x89LZO\0", Kind("lzop", "unsupported")),
    (0, b"\x1f\x9d\x90", Kind("compress", "unsupported")),
    (0, b"MSCF", Kind("cab", "unsupported")),
    (0, b"ISc(", Kind("installshield", "unsupported")),
    (0, b"!<arch>\n", Kind("ar", "unsupported")),
    (0, b"!<thin>\n", Kind("ar", "unsupported")),
    (0, b"\xed\xab\xee\xdb", Kind("rpm", "unsupported")),
    (0, b"070701", Kind("cpio", "unsupported")),
    (0, b"070702", Kind("cpio", "unsupported")),
    (0, b"070707", Kind("cpio", "unsupported")),
    (0, b"hsqs", Kind("squashfs", "unsupported")),
    (0, b"zPQ", Kind("zpaq", "unsupported")),
    (2, b"-lh", Kind("lha", "unsupported")),
    (7, b"**ACE**", Kind("ace", "unsupported")),
    (0x8001, b"CD001", Kind("iso9660", "unsupported")),
    (0, b"\x7fELF", Kind("elf", "executable")),
    (0, b"\xfe\xed\xfa\xce", Kind("mach-o", "executable")),
    (0, b"\xfe\xed\xfa\xcf", Kind("mach-o", "executable")),
    (0, b"\xce\xfa\xed\xfe", Kind("mach-o", "executable")),
    (0, b"\xcf\xfa\xed\xfe", Kind("mach-o", "executable")),
    (0, b"\xca\xfe\xba\xbe", Kind("mach-o or java class", "executable")),
    (0, b"\0asm", Kind("webassembly", "executable")),
    (0, b"%PDF-", Kind("pdf", "data")),
    (0, b"\x89PNG\r\n\x1a\n", Kind("png", "data")),
    (0, b"\xff\xd8\xff", Kind("jpeg", "data")),
    (0, b"GIF87a", Kind("gif", "data")),
    (0, b"GIF89a", Kind("gif", "data")),
    (0, b"\x93NUMPY", Kind("npy", "data")),
    (0, b"PAR1", Kind("parquet", "data")),
    (0, b"ARROW1", Kind("arrow", "data")),
    (0, b"\x89HDF\r\n\x1a\n", Kind("hdf5", "data")),
    (0, b"SQLite format 3\0", Kind("sqlite", "data")),
    (128, b"DICM", Kind("dicom", "data")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("ole2", "data")),
)
_TEXT_START = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NOT_TEXT = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f]")
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", re.DOTALL)
_PICKLE = re.compile(rb"\x80[\x02-\x05].", re.DOTALL)
_SKIPPABLE_ZSTD = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


BY_NAME_UNSUPPORTED = _names(
    "7z ace alz arj br cab conda cpio deb dmg iso img lha lz lz4 lzh lzma lzo rar rpm sit sitx squashfs tzst "
    "vhd vhdx vmdk wim xar zpaq zst z"
)
"""Extensions of containers that nobody here opens. Some (Brotli, raw LZMA) cannot be told by their content."""
_TEXT = _names(
    "txt md rst csv tsv tab json jsonl geojson ipynb py pyi r rmd qmd jl sql sh bash zsh do ado sas sps m c h cc cpp "
    "hpp java js mjs ts css html htm xml svg yaml yml toml ini cfg conf log tex bib dot lock patch diff"
)
_ZIPPED = _names("zip whl jar docx xlsx pptx docm xlsm pptm odt ods odp epub npz egg kmz apk pt pth keras")
_EXPECTED: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (_TEXT, _names("text utf-16 json notebook markup script empty")),
    (_ZIPPED, _names("zip")),
    (_names("gz tgz"), _names("gzip")),
    (_names("tar"), _names("tar")),
    (_names("bz2 tbz2 tbz"), _names("bzip2")),
    (_names("xz txz"), _names("xz")),
    (_names("png"), _names("png")),
    (_names("jpg jpeg"), _names("jpeg")),
    (_names("gif"), _names("gif")),
    (_names("pdf"), _names("pdf")),
    (_names("npy"), _names("npy")),
    (_names("dcm"), _names("dicom")),
    (_names("parquet"), _names("parquet")),
    (_names("h5 hdf5"), _names("hdf5")),
    (_names("sqlite"), _names("sqlite")),
    (_names("feather arrow"), _names("arrow")),
    (_names("pkl pickle"), _names("pickle")),
)
_BY_EXTENSION = {name: kinds for names, kinds in _EXPECTED for name in names}
"""Kinds of content that an extension promises; other extensions promise nothing."""


def extension(name: str) -> str:
    """Return the last extension of a name, lower-case, without the dot; empty when there is none."""
    stem, dot, last = name.rpartition(".")
    return last.lower() if dot and stem else ""


def _is_tar(head: bytes) -> bool:
    if len(head) < 512 or not any(head[:512]):
        return False
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _text_kind(head: bytes) -> Kind | None:
    for start, encoding in _TEXT_START:
        if head.startswith(start):
            if encoding == "utf-16":
                return Kind("utf-16", "text")
            head = head.removeprefix(start)
    if _NOT_TEXT.search(head):
        return None
    begin = head.lstrip()[:512].lower()
    if begin.startswith(b"#!"):
        return Kind("script", "text")
    if begin.startswith((b"<!doctype html", b"<html", b"<?xml", b"<svg")):
        return Kind("markup", "text")
    if begin.startswith((b"{", b"[")):
        notebook = b'"nbformat"' in head or b'"cells"' in head
        return Kind("notebook" if notebook else "json", "text")
    return Kind("text", "text")


def _by_library(head: bytes) -> Kind | None:
    known = filetype.guess(head)
    if known is None:
        return None
    plain = {
        "application/pdf",
        "application/rtf",
        "application/postscript",
        "application/x-sqlite3",
        "application/dicom",
    }
    if known.mime in plain or type(known).__module__ != filetype_archives.__name__:
        return Kind(known.mime, "data")
    if known.mime in {
        "application/x-msdownload",
        "application/x-executable",
        "application/x-shockwave-flash",
    }:
        return Kind(known.mime, "executable")
    return Kind(known.mime, "unsupported")


def _by_magic(head: bytes) -> Kind | None:
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if _BZIP2.match(head):
        return Kind("bzip2", "container")
    if _SKIPPABLE_ZSTD.match(head):
        return Kind("zstd", "unsupported")
    if head.startswith(b"MZ") and _NOT_TEXT.search(head):
        return Kind("pe", "executable")
    return TAR if _is_tar(head) else None


def kind_of(head: bytes) -> Kind:
    """Return what content that begins with `head` is."""
    if not head:
        return EMPTY
    pickle = Kind("pickle", "pickle") if _PICKLE.match(head) else None
    return _by_magic(head) or _text_kind(head) or pickle or _by_library(head) or UNKNOWN


def mismatch(name: str, kind: Kind) -> bool:
    """Say whether the name promises another kind of content."""
    expected = _BY_EXTENSION.get(extension(name))
    return expected is not None and kind.name not in expected
