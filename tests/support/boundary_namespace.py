"""A machine of one's own for a browser: network, names and everything outside, in namespaces that this process makes.

Outside, it passes on connections to a running Broch. Inside it answers every name, listens as "the internet" would
(HTTP, any TLS hello, STUN), writes down what arrives, and can take single pieces of the wall out of what passes by.
Standard library only. Traffic never leaves the namespace, but for the unix sockets to the part outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

INTERNET = "198.51.100.8"
"""Where every name leads (RFC 5737, for documentation)."""
OWN = "198.51.100.1"
UDP_PORTS = range(20000, 20200)
"""One port per probe of WebRTC, since a STUN request carries no name."""

_OFF = (
    b"Content-Security-Policy",
    b"content-security-policy",
    b"Connection-Allowlist: (",
    b"connection-allowlist: (",
    b"X-DNS-Prefetch-Control",
    b"Permissions-Policy",
    b"permissions-policy",
    b'sandbox="allow-scripts',
)
_REQUEST_OFF = (b"Service-Worker:", b"serviceworker", b"Sec-Fetch-Dest: document")
WALLS: Mapping[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "on": ((), ()),
    "no allow-list": ((b"Connection-Allowlist: (", b"connection-allowlist: ("), ()),
    "off": (_OFF, _REQUEST_OFF),
}
"""What is taken out of answers and of requests; each is overwritten in place, so lengths stay."""


def _cover(data: bytes, words: tuple[bytes, ...]) -> bytes:
    for word in words:
        data = data.replace(word, b"x" + word[1:])
    return data


class Log:
    """What arrived, one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, kind: str, name: str) -> None:
        self._file.write(json.dumps({"at": time.monotonic(), "kind": kind, "name": name}) + "\n")


class Names(asyncio.DatagramProtocol):
    """A DNS server that has one answer (RFC 1035)."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
        self._log.write("dns", ".".join(labels).lower())
        found = kind == 1
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, int(found), 0, 0) + data[12 : at + 5]
        answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + bytes(map(int, INTERNET.split(".")))
        self._transport.sendto(head + (answer if found else b""), addr)


class Datagrams(asyncio.DatagramProtocol):
    """Writes down that something came to a port."""

    def __init__(self, log: Log, port: int) -> None:
        self._log, self._port = log, port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        self._log.write("udp", str(self._port))


def _server_name(hello: bytes) -> str:
    """Return the name in a TLS hello: the first thing in it that ends as our names do."""
    end = hello.find(b".example")
    start = end
    while start > 0 and (hello[start - 1 : start].isalnum() or hello[start - 1 : start] in b".-"):
        start -= 1
    return hello[start : end + 8].decode("latin-1") if end > 0 else "?"


def _answer(target: str) -> bytes:
    """Return an answer that says what the query asks for: a server without a wall."""
    said = dict(parse_qsl(urlsplit(target).query))
    status, body = said.pop("status", "200"), said.pop("body", "ok")
    lines = [f"HTTP/1.1 {status} Any", "Access-Control-Allow-Origin: *", "Content-Type: text/html"]
    lines += [
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {v}" for name, v in said.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def _internet(log: Log, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        first = await reader.read(65536)
        if not first:
            log.write("http", "?")  # a connection made in advance
        elif first[:1] == b"\x16":
            log.write("http", _server_name(first))
        else:
            lines = first.decode("latin-1").split("\r\n")
            host = next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "?")
            log.write("http", host.partition(":")[0].lower())
            words = lines[0].split(" ")
            if len(words) == 3:  # else it is no request: TURN comes here too
                writer.write(_answer(words[1]))
                await writer.drain()
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: tuple[bytes, ...]) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 18):
            writer.write(_cover(data, words))
            await writer.drain()
        writer.write_eof()


async def _join(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    wall: str = "on",
) -> None:
    answers, requests = WALLS[wall]
    await asyncio.gather(_pump(one[0], other[1], requests), _pump(other[0], one[1], answers))
    for _, writer in (one, other):
        writer.close()


async def inside(folder: Path, ports: list[int]) -> None:
    """Serve in the namespaces."""
    log = Log(folder / "arrived")

    async def passing(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wall = (folder / "wall").read_text()
        with contextlib.suppress(OSError):
            out = await asyncio.open_unix_connection(folder / f"{port}.sock")
            await _join((reader, writer), out, wall)

    loop = asyncio.get_running_loop()
    for port in ports:
        await asyncio.start_server(lambda r, w, port=port: passing(port, r, w), "127.0.0.1", port)
    for port in (80, 443):
        await asyncio.start_server(lambda r, w: _internet(log, r, w), INTERNET, port)
    await loop.create_datagram_endpoint(lambda: Names(log), (INTERNET, 53))
    for port in UDP_PORTS:
        await loop.create_datagram_endpoint(lambda port=port: Datagrams(log, port), (INTERNET, port))
    (folder / "ready").write_text(str(os.getpid()))
    await loop.connect_read_pipe(lambda: _UntilEnd(loop), sys.stdin)
    await asyncio.Event().wait()


class _UntilEnd(asyncio.Protocol):
    """Ends this process with the one that holds the other end of its standard input."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def connection_lost(self, _error: Exception | None) -> None:
        os._exit(0)


async def outside(folder: Path, ports: list[int]) -> None:
    """Pass on what comes from the inside, and end with it."""

    async def passing(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await _join((reader, writer), await asyncio.open_connection("127.0.0.1", port))

    for port in ports:
        await asyncio.start_unix_server(lambda r, w, port=port: passing(port, r, w), folder / f"{port}.sock")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    (folder / "resolv.conf").write_text(f"nameserver {INTERNET}\noptions timeout:1 attempts:1\n")
    script = (
        "set -e; ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up; "
        f"ip addr add {OWN}/24 dev v0; ip addr add {INTERNET}/32 dev v0; ip link set v0 up; "
        "ip route add default via 198.51.100.2; "
        f"mount --bind '{folder}/resolv.conf' /etc/resolv.conf; exec \"$@\""
    )
    command = [sys.executable, __file__, "inside", str(folder), *map(str, ports)]
    process = subprocess.Popen(  # noqa: ASYNC220 (nothing else goes on here yet)
        ["unshare", "--net", "--mount", *as_root, "sh", "-c", script, "sh", *command],
        stdin=subprocess.PIPE,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )
    await asyncio.to_thread(process.wait)


if __name__ == "__main__":
    asyncio.run(
        {"inside": inside, "outside": outside}[sys.argv[1]](Path(sys.argv[2]), [*map(int, sys.argv[3:])])
    )
