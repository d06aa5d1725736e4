"""What hides in text: data: URIs (RFC 2397, and as browsers read them) and encoded strings in JSON and notebooks."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from broch_airlock.checks.inside.streams import Stream, Unreadable

_HEADER = re.compile(rb"data:([^,\"'<>\r\n\0]{0,256}),")
_HEADER_LONGEST = 5 + 256 + 1
# White space, percent escapes and backslashes (`\n` in source code) are part of the run: readers drop or decode them.
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=_\-\s%\\]*")
_PERCENT_RUN = re.compile(rb"[^\"'<>\r\n\0]*")
_BASE64_TEXT = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_HEX_TEXT = re.compile(r"[0-9a-fA-F]+")  # digests: no chosen bytes have a base64 form of hex digits only
SHORTEST = 24
"""Bytes. Shorter decoded parts are not looked at: no known test or malware is that short."""


def decode_base64(run: bytes) -> bytes:
    """Return what a lenient reader makes of a run of base64: white space dropped, both alphabets, any padding."""
    if b"%" in run:
        run = unquote_to_bytes(run)
    run = re.sub(rb"\\[nrt]|[^A-Za-z0-9+/_-]", b"", run).replace(b"-", b"+").replace(b"_", b"/")
    if len(run) % 4 == 1:
        run = run[:-1]
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4))
    except binascii.Error:
        return b""


class DataUris:
    """Finds data: URIs in bytes that come in pieces.

    Args:
        longest: bytes of one encoded URI that are decoded.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._tail = b""
        self._run: re.Pattern[bytes] | None = None
        self._payload = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decoded content of each URI that ended in this piece."""
        buffer = self._tail + piece
        if self._run is None and b":" not in buffer:  # most tables: nothing to look through, nothing to copy
            self._tail = buffer[-4:]
            return
        lowered = buffer.lower()
        at = 0
        while True:
            if self._run is not None:
                match = self._run.match(buffer, at)
                end = match.end() if match else at
                self._payload += buffer[at:end]
                if len(self._payload) > self._longest:
                    raise Unreadable("memory", f"A data: URI is longer than {self._longest} bytes.")
                if end == len(buffer):
                    self._tail = b""
                    return
                at = end
                yield from self._finish()
            start = lowered.find(b"data:", at)
            if start < 0:
                self._tail = buffer[max(at, len(buffer) - 4) :]
                return
            match = _HEADER.match(lowered, start)
            if match is None:
                if len(buffer) - start < _HEADER_LONGEST:
                    self._tail = buffer[start:]
                    return
                at = start + 5
                continue
            encoded = match[1].replace(b" ", b"").endswith(b";base64")
            self._run = _BASE64_RUN if encoded else _PERCENT_RUN
            at = match.end()

    def close(self) -> Iterator[bytes]:
        """Yield the URI that ran to the end of the text."""
        tail, self._tail = self._tail, b""
        if self._run is None and tail[1:]:
            # What was kept as the possible start of a header was none; another may begin inside it.
            yield from self.feed(tail[1:])
            yield from self.close()
        yield from self._finish()

    def _finish(self) -> Iterator[bytes]:
        run, self._run = self._run, None
        payload, self._payload = bytes(self._payload), bytearray()
        if run is None:
            return
        if run is _BASE64_RUN:
            content = decode_base64(payload)
        else:
            content = unquote_to_bytes(payload) if b"%" in payload else b""
        if len(content) >= SHORTEST:
            yield content


def uris_of_text(stream: Stream, longest: int, *, utf16: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield (decoded URI, False) for each data: URI, and (b"", True) once when there are NUL bytes in the text."""
    finder = DataUris(longest)
    decoder = codecs.getincrementaldecoder("utf-16")("replace") if utf16 else None
    binary = False
    while piece := stream.read():
        if decoder is not None:
            piece = decoder.decode(piece).encode("utf-8", "replace")
        elif not binary and b"\0" in piece:
            binary = True
            yield b"", True
        for content in finder.feed(piece):
            yield content, False
    for content in finder.close():
        yield content, False


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (place, string) for every string; a list of strings also joined, as notebooks mean it.

    An explicit stack: JSON may be nested deeper than Python's calls.
    """
    stack = [(path, value)]
    while stack:
        at, item = stack.pop()
        if isinstance(item, str):
            yield at, item
        elif isinstance(item, tuple):  # an object, as pairs
            stack += [(f"{at}.{key[:40]}", inner) for key, inner in item]
            stack += [(f"{at} (key)", key) for key, _ in item]
        elif isinstance(item, list):
            if len(item) > 1 and all(isinstance(inner, str) for inner in item):
                yield at, "".join(item)
            stack += [(f"{at}[{number}]", inner) for number, inner in enumerate(item)]


class NotJson(ValueError):
    """The text is not JSON."""


def json_parts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (place, bytes) for all that is hidden in the strings of a JSON text: decoded base64, text with escapes.

    Pairs of an object are all looked at, those with the same name too: readers differ in which one counts.

    Raises:
        NotJson: it does not parse.
    """
    try:
        document = json.loads(content, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    for place, text in _strings(document, "$"):
        yield from _parts_of_string(place, text)


def _parts_of_string(place: str, text: str) -> Iterator[tuple[str, bytes]]:
    if len(text) < SHORTEST:
        return
    raw = text.encode("utf-8", "surrogatepass")
    # The raw file already shows clamd what stands in it unescaped; escapes and joined lines do not.
    if not text.isprintable() or '"' in text or "\\" in text or not text.isascii() or "(" in text:
        yield place, raw
    if "data:" in text.lower():
        finder = DataUris(len(raw) + 1)
        for content in (*finder.feed(raw), *finder.close()):
            yield f"{place} (data: URI)", content
    packed = "".join(text.split())
    if _BASE64_TEXT.fullmatch(packed) and not _HEX_TEXT.fullmatch(packed):
        content = decode_base64(raw)
        if len(content) >= SHORTEST:
            yield f"{place} (base64)", content
