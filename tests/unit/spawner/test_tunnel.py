"""What is read of a websocket's frames: their heads, however the bytes are cut, and what makes it a websocket."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_spawner import tunnel
from broch_spawner.tunnel import Heads, agreed, is_well_formed, sent_on
from support.counts import count

KEY, PROOF = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455, 1.3."""


def frame(opcode, payload, *, masked=True, last=True):
    """Return one frame by the definition (RFC 6455, 5.2)."""
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask | 127]) + size.to_bytes(8)
    return bytes([(0x80 if last else 0) | opcode]) + length + (b"mask" if masked else b"") + payload


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0x0, 0x1, 0x2, 0x8, 0x9, 0xA]),
        st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000]),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=count("heads of frames, however they are cut", ci=300, nightly=10000))
@given(frames=FRAMES, cuts=st.lists(st.integers(1, 70000), max_size=30))
def test_each_message_is_noticed_and_nothing_else_however_the_bytes_are_cut(frames, cuts):
    heads, at = Heads(), 0
    stream = b"".join(frame(opcode, b"x" * size, masked=masked) for opcode, size, masked in frames)
    noticed = []
    for cut in [*cuts, len(stream)]:
        noticed.append(heads.feed(stream[at : at + cut]))
        at += cut
    assert any(noticed) is any(opcode < 8 for opcode, _, _ in frames)
    # Where one frame ends the next begins: a message after it is seen as one, an answer by itself is not.
    assert heads.feed(frame(0xA, b"ping")) is False
    assert heads.feed(frame(0x1, b"typed")) is True


def handshake(**changes):
    known = {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": KEY}
    given = {name.replace("_", "-"): value for name, value in changes.items() if name != "method"}
    return SimpleNamespace(
        headers=known | given, method=changes.get("method", "GET"), body_exists=changes.get("body", False)
    )


def answer(status=101, **changes):
    known = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": PROOF}
    given = {name.replace("_", "-"): value for name, value in changes.items()}
    return SimpleNamespace(status=status, headers=known | given)


def test_a_server_that_agrees_is_told_on_in_our_own_words():
    found = agreed(handshake(), answer(X_Other="said", Connection="Upgrade, other"))
    assert found == [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", PROOF)]
    chosen = agreed(
        handshake(Sec_WebSocket_Protocol="a, v1.kernel"), answer(Sec_WebSocket_Protocol="v1.kernel")
    )
    assert ("Sec-WebSocket-Protocol", "v1.kernel") in chosen


@pytest.mark.parametrize(
    "lie",
    [
        answer(200),
        answer(403),
        answer(Upgrade="h2c"),
        answer(Sec_WebSocket_Accept="bytes of its own"),
        answer(Sec_WebSocket_Extensions="permessage-deflate"),
        answer(Sec_WebSocket_Protocol="never offered"),
    ],
    ids=["200", "403", "h2c", "proof", "extension", "protocol"],
)
def test_a_server_that_does_not_agree_is_no_websocket(lie):
    assert agreed(handshake(Sec_WebSocket_Protocol="offered"), lie) is None


@pytest.mark.parametrize(
    "bent", [{"method": "POST"}, {"body": True}, {"Connection": "close"}, {"Sec_WebSocket_Key": "\u00fc"}]
)
def test_what_no_browser_sends_is_no_handshake(bent):
    assert is_well_formed(handshake())
    assert not is_well_formed(handshake(**bent))


def test_extensions_are_not_asked_for():
    sent = list(
        sent_on(
            iter(
                [
                    ("Sec-WebSocket-Extensions", "permessage-deflate"),
                    ("Sec-WebSocket-Key", KEY),
                    ("Cookie", "a=b"),
                ]
            )
        )
    )
    assert sent == [
        ("Sec-WebSocket-Key", KEY),
        ("Cookie", "a=b"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
    ]


def test_who_does_not_read_lets_the_sender_wait():
    async def story():
        did = []
        protocol = SimpleNamespace(
            pause_reading=lambda: did.append("pause"), resume_reading=lambda: did.append("resume")
        )
        inlet = tunnel._Inlet(protocol)
        inlet.feed_data(b"x" * (tunnel._HELD - 1))
        assert did == []
        inlet.feed_data(b"y")
        inlet.feed_data(b"z")
        assert did == ["pause"]
        assert len(await inlet.read()) == tunnel._HELD + 1
        assert did == ["pause", "resume"]
        inlet.feed_data(b"last")
        inlet.feed_eof()
        assert await inlet.read() == b"last"
        assert await inlet.read() == b""

    asyncio.run(story())


def test_who_does_not_take_the_last_bytes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(tunnel, "_LAST_SECONDS", 0.05)

    def side(did):
        transport = SimpleNamespace(close=lambda: did.append("close"), abort=lambda: did.append("abort"))
        protocol = SimpleNamespace(transport=transport, parser=None)
        protocol.set_parser = lambda parser, *_: setattr(protocol, "parser", parser)
        return protocol

    async def story():
        of_browser, of_server = [], []
        browser, server = side(of_browser), side(of_server)
        up = SimpleNamespace(connection=SimpleNamespace(protocol=server), close=lambda: None)
        running = asyncio.ensure_future(
            tunnel.Tunnel(SimpleNamespace(protocol=browser), up).run(lambda _: None, lambda: None)
        )
        await asyncio.sleep(0)
        server.parser.feed_eof()
        await running
        assert of_browser == of_server == ["close"]
        await asyncio.sleep(0.2)
        assert of_browser == of_server == ["close", "abort"]

    asyncio.run(story())
