"""What passes between web, broker and sandbox: frames of a kind, a length and a payload.

    web -> broker      T token, J head of the order, B job (JSON, opaque to the broker); after A the bytes of the inputs
    broker -> web      A accepted, N refused (JSON: what, remedy); after A what the sandbox writes, unread
    broker -> sandbox  J, B, the bytes of the inputs
    sandbox -> broker  T one-time token; then O output and E end (exit status), which web alone reads

An end that is not said by `E` was a cut. Standard library only: a sandbox starts in the time that this file takes.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

TOKEN, ORDER, JOB, ACCEPTED, REFUSED, ASK, OUTPUT, END = (b"T", b"J", b"B", b"A", b"N", b"Q", b"O", b"E")

CHUNK = 256 << 10
"""Bytes of one `O`, and of one read anywhere on the way."""
LONGEST = {
    TOKEN: 512,
    ORDER: 64 << 10,
    JOB: 4 << 20,
    ACCEPTED: 4096,
    REFUSED: 4096,
    ASK: 0,
    OUTPUT: CHUNK,
    END: 4,
}
"""Bytes of a payload by kind."""
_HEADER = struct.Struct("!cI")
_STATUS = struct.Struct("!i")


class BrokenFrame(Exception):
    """What came is no frame, not the one that is due, or not whole."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Return one frame.

    Raises:
        ValueError: the payload is longer than its kind may be.
    """
    if len(payload) > LONGEST[kind]:
        raise ValueError(f"a payload of {len(payload)} bytes is too long for {kind!r}")
    return _HEADER.pack(kind, len(payload)) + payload


def end_frame(status: int) -> bytes:
    """Return the frame that says how a module ended."""
    return frame(END, _STATUS.pack(status))


def end_status(payload: bytes) -> int:
    """Return the exit status of an `E`.

    Raises:
        BrokenFrame: it holds none.
    """
    if len(payload) != _STATUS.size:
        raise BrokenFrame("an end without a status")
    return int(_STATUS.unpack(payload)[0])


def _judged(header: bytes, due: tuple[bytes, ...]) -> tuple[bytes, int]:
    kind, length = _HEADER.unpack(header)
    if kind not in due:
        raise BrokenFrame(f"{kind!r} came where {b' or '.join(due)!r} was due")
    if length > LONGEST[kind]:
        raise BrokenFrame(f"{kind!r} of {length} bytes is too long")
    return kind, length


def receive_exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    """Return that many bytes of a blocking source.

    Args:
        receive: returns up to that many bytes, empty at the end, such as `socket.recv`.
        size: bytes.

    Raises:
        BrokenFrame: it ended before.
    """
    parts = []
    while size:
        part = receive(min(size, CHUNK))
        if not part:
            raise BrokenFrame("it ended in the middle")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_frame(receive: Callable[[int], bytes], *due: bytes) -> tuple[bytes, bytes]:
    """Return kind and payload of the next frame of a blocking source.

    Raises:
        BrokenFrame: it is none of those due, too long, or cut.
    """
    kind, length = _judged(receive_exactly(receive, _HEADER.size), due)
    return kind, receive_exactly(receive, length)


async def read_frame(read_exactly: Callable[[int], Awaitable[bytes]], *due: bytes) -> tuple[bytes, bytes]:
    """Return kind and payload of the next frame.

    Args:
        read_exactly: such as `StreamReader.readexactly`.
        due: kinds that may come now.

    Raises:
        BrokenFrame: it is none of those due, too long, or cut.
    """
    try:
        kind, length = _judged(await read_exactly(_HEADER.size), due)
        return kind, await read_exactly(length)
    except EOFError:
        raise BrokenFrame("it ended in the middle") from None
