"""Frames and orders: what is whole is read, everything else is refused."""

from __future__ import annotations

import asyncio
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_workspaces.sandboxes.frames import (
    CHUNK,
    END,
    LONGEST,
    ORDER,
    OUTPUT,
    TOKEN,
    BrokenFrame,
    end_frame,
    end_status,
    frame,
    read_frame,
    receive_frame,
)
from broch_workspaces.sandboxes.order import FILES_MOST, MODULES, Order, limits_for

CHECKS = "broch_airlock.checks.inside"


def read(content: bytes, *due: bytes) -> tuple[bytes, bytes]:
    """Read by both ways, which must agree."""

    async def streamed() -> tuple[bytes, bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        return await read_frame(reader.readexactly, *due)

    try:
        blocking: object = receive_frame(io.BytesIO(content).read, *due)
    except BrokenFrame as broken:
        with pytest.raises(BrokenFrame, match=re.escape(str(broken))):
            asyncio.run(streamed())
        raise
    assert asyncio.run(streamed()) == blocking
    return blocking  # type: ignore[return-value]


@given(st.binary(max_size=512))
def test_a_frame_is_read_as_it_was_written(payload: bytes) -> None:
    assert read(frame(OUTPUT, payload), OUTPUT) == (OUTPUT, payload)
    assert read(frame(TOKEN, payload), TOKEN, OUTPUT) == (TOKEN, payload)


def test_the_largest_frame_passes_and_one_byte_more_is_refused_on_both_sides() -> None:
    assert len(read(frame(OUTPUT, b"x" * CHUNK), OUTPUT)[1]) == CHUNK
    for kind, longest in LONGEST.items():
        with pytest.raises(ValueError, match="too long"):
            frame(kind, b"x" * (longest + 1))
        with pytest.raises(BrokenFrame, match="too long"):
            read(kind + (longest + 1).to_bytes(4, "big") + b"x" * (longest + 1), kind)


def test_a_frame_that_is_not_due_is_refused() -> None:
    with pytest.raises(BrokenFrame, match="due"):
        read(frame(TOKEN, b"x"), OUTPUT, END)
    with pytest.raises(BrokenFrame, match="due"):
        read(b"?\0\0\0\0", OUTPUT)


def test_a_frame_cut_anywhere_is_refused() -> None:
    whole = frame(OUTPUT, b"some output")
    for size in range(len(whole)):
        with pytest.raises(BrokenFrame, match="middle"):
            read(whole[:size], OUTPUT)


@pytest.mark.parametrize("status", [0, 1, -9, 255, -(2**31)])
def test_an_end_says_how(status: int) -> None:
    assert end_status(read(end_frame(status), END)[1]) == status


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0"])
def test_an_end_without_a_status_is_none(payload: bytes) -> None:
    with pytest.raises(BrokenFrame):
        end_status(payload)


def test_an_order_is_read_as_it_was_written() -> None:
    for module in MODULES:
        order = Order(module, 60, (0, 1, 1 << 40))
        assert Order.parse(order.encode()) == order
        assert read(frame(ORDER, order.encode()), ORDER)[1] == order.encode()
        assert order.total == 1 + (1 << 40)


def test_the_largest_order_fits_its_frame() -> None:
    order = Order(CHECKS, 86_400, (1 << 42,) * FILES_MOST)
    assert len(frame(ORDER, order.encode())) <= LONGEST[ORDER]


@pytest.mark.parametrize(
    "changes",
    [
        {"module": "subprocess"},
        {"module": "broch_airlock.checks"},
        {"module": ["broch_airlock.checks.inside"]},
        {"cpu_seconds": 0},
        {"cpu_seconds": True},
        {"cpu_seconds": 1e3},
        {"cpu_seconds": 10**9},
        {"sizes": [-1]},
        {"sizes": [None]},
        {"sizes": {"0": 1}},
        {"sizes": [1] * (FILES_MOST + 1)},
        {"sizes": [1 << 43]},
        {"image": "another"},
        {"sizes": ...},
    ],
)
def test_an_order_outside_the_list_is_none(changes: dict[str, object]) -> None:
    value: dict[str, object] = {"module": CHECKS, "cpu_seconds": 5, "sizes": [1, 2]}
    assert Order.parse(json.dumps(value).encode())
    value |= changes
    value = {key: one for key, one in value.items() if one is not ...}
    with pytest.raises(ValueError, match=r"."):
        Order.parse(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_order_never_pass(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Order.parse(content)


def test_a_deep_order_is_none() -> None:
    with pytest.raises(ValueError, match="deep"):
        Order.parse(b"[" * 60_000)


def test_a_module_may_write_no_file_and_start_few_processes() -> None:
    limits = limits_for(30)
    assert (limits.file_bytes, limits.processes, limits.cpu_seconds) == (0, 8, 30)
