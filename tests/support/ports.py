"""Ports of 127.0.0.1 that are free and stay so: nothing that asks the kernel for one is given it meanwhile."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

_LOWEST, _HIGHEST = 20_000, 29_998
"""Below what Kubernetes gives its node ports."""
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port that is free together with the next one.

    Port 0 would not do: the kernel gives such a port, and often the next one, to whoever connects or listens before
    the server of the test does, and one that waits for its end (TIME_WAIT) is in the way as well.

    Raises:
        RuntimeError: no two ports in a row are free.
    """
    highest = min(_HIGHEST, int(_RANGE.read_text().split()[0]) - 2)
    if highest < _LOWEST:  # this machine gives connections all of them: none is better than another
        highest = _HIGHEST
    for _ in range(100):
        port = _LOWEST + secrets.randbelow(highest - _LOWEST + 1)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise RuntimeError("no two free ports in a row")
