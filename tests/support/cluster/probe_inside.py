"""Tries to reach targets with real packets. Runs inside pods and notebooks: the standard library alone, one file.

Argument: JSON list of `{"name", "kind", "host", "port"}`. Prints `{name: {"reached": bool, "how": str}}`; `reached`
means that something came back from there, whatever it was.
"""

import json
import socket
import struct
import sys
import threading
import time

_SECONDS = 3.0


def _question(name: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 0x4252, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def _tcp(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_SECONDS):
        return "connected"


def _http(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: probe\r\n\r\n")
        return connection.recv(200).decode("latin-1").replace("\r\n", " ") or "closed"


def _datagram(host: str, port: int, content: bytes) -> bytes:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as sender:
        sender.settimeout(_SECONDS / 3)
        for attempt in range(3):  # a datagram may be lost on its way without anybody's will
            sender.sendto(content, address)
            try:
                return sender.recvfrom(1500)[0]
            except TimeoutError:
                if attempt == 2:
                    raise
    raise TimeoutError


def _udp(host: str, port: int) -> str:
    return _datagram(host, port, b"probe").decode("latin-1")


def _dns(host: str, port: int) -> str:
    return f"answer of {len(_datagram(host, port, _question('probe.example.com')))} bytes"


def _name(host: str, port: int) -> str:
    return str(socket.getaddrinfo(host, port)[0][4][0])


def _icmp(host: str, port: int) -> str:
    # A "ping socket": the kernel fills in identifier and checksum. Needs no right where the runtime allows groups.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sender:
        sender.settimeout(_SECONDS / 3)
        for attempt in range(3):
            sender.sendto(struct.pack(">BBHHH", 8, 0, 0, 0, attempt) + b"probe", (host, port))
            try:
                # An error (destination unreachable) is an answer of somebody else and raises.
                return f"echo of {len(sender.recvfrom(1500)[0])} bytes"
            except TimeoutError:
                if attempt == 2:
                    raise
    raise TimeoutError


KINDS = {"tcp": _tcp, "http": _http, "udp": _udp, "dns": _dns, "name": _name, "icmp": _icmp}


def probe(targets: list) -> dict:
    """Try all targets at once; a probe that cannot even begin (no such kind, no right) says so in `how`."""
    found: dict = {}

    def attempt(target: dict) -> None:
        try:
            found[target["name"]] = {
                "reached": True,
                "how": KINDS[target["kind"]](target["host"], target["port"]),
            }
        except (OSError, ValueError, KeyError) as problem:
            found[target["name"]] = {"reached": False, "how": f"{type(problem).__name__}: {problem}"}

    threads = [threading.Thread(target=attempt, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 4 * _SECONDS  # one end for all: resolvers take long to give up
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {
        target["name"]: found.get(target["name"], {"reached": False, "how": "hangs"}) for target in targets
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(json.loads(sys.argv[1]))) + "\n")
