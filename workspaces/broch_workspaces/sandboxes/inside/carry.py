"""The container that speaks to the broker: fetches job and inputs, then passes on what the other one writes, unread."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.sandboxes.frames import (
    CHUNK,
    JOB,
    ORDER,
    TOKEN,
    BrokenFrame,
    frame,
    receive_exactly,
    receive_frame,
)
from broch_workspaces.sandboxes.order import Order

LINK = "link"
"""Name of the socket on which the other container is waited for."""
_CONNECT_SECONDS = 10.0
_OTHER_SECONDS = 30.0
"""How long the other container may take to start after this one."""
_QUIET_SECONDS = 5
_TRIES = 3


@dataclass(frozen=True)
class Errand:
    """Whom to call, and where to put what comes."""

    host: str
    """IP address of the broker: there is no name service here."""
    port: int
    name: str
    """That the broker's certificate must have."""
    authority: str
    """PEM."""
    token: bytes
    inputs: Path
    meeting: Path
    """Folder of the socket to the other container."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Errand:
        """Read it from the environment.

        Raises:
            KeyError: something is missing.
            ValueError: the port is no number.
        """
        return cls(
            host=environment["BROCH_SANDBOX_HOST"],
            port=int(environment["BROCH_SANDBOX_PORT"]),
            name=environment["BROCH_SANDBOX_NAME"],
            authority=environment["BROCH_SANDBOX_CA"],
            token=environment["BROCH_SANDBOX_TOKEN"].encode(),
            inputs=Path(environment.get("BROCH_SANDBOX_INPUTS", "/in")),
            meeting=Path(environment.get("BROCH_SANDBOX_MEETING", "/run/sandbox")),
        )


def run(errand: Errand) -> None:
    """Do the whole errand once.

    Raises:
        OSError: a connection failed or ended.
        BrokenFrame: the broker said something that is not due, or left.
    """
    with contextlib.ExitStack() as open_ones:
        listening = open_ones.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(errand.meeting / LINK))
        listening.listen(1)
        broker = open_ones.enter_context(_connect(errand))
        broker.sendall(frame(TOKEN, errand.token))
        # Without a time limit: a pod may wait for its job. Keep-alive ends the wait for a broker that is gone.
        _, head = receive_frame(broker.recv, ORDER)
        _, job = receive_frame(broker.recv, JOB)
        for number, size in enumerate(Order.parse(head).sizes):
            _keep(broker, errand.inputs / str(number), size)
        listening.settimeout(_OTHER_SECONDS)
        other, _ = listening.accept()
        open_ones.enter_context(other)
        # One side, once: the module must not be able to come in as well.
        listening.close()
        (errand.meeting / LINK).unlink()
        other.sendall(frame(ORDER, head) + frame(JOB, job))
        if _pass_on(other, broker):
            # The broker answers when it has read everything. Not before: what the kernel still holds goes with the pod.
            with contextlib.suppress(OSError):
                broker.unwrap()


def _connect(errand: Errand) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=errand.authority)
    plain = socket.create_connection((errand.host, errand.port), timeout=_CONNECT_SECONDS)
    try:
        for option, value in (
            (socket.TCP_KEEPIDLE, _QUIET_SECONDS),
            (socket.TCP_KEEPINTVL, _QUIET_SECONDS),
            (socket.TCP_KEEPCNT, _TRIES),
        ):
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        broker = context.wrap_socket(plain, server_hostname=errand.name)
    except BaseException:
        plain.close()
        raise
    broker.settimeout(None)
    return broker


def _keep(broker: ssl.SSLSocket, path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    with os.fdopen(descriptor, "wb") as file:
        while size:
            part = receive_exactly(broker.recv, min(size, CHUNK))
            file.write(part)
            size -= len(part)


def _pass_on(other: socket.socket, broker: ssl.SSLSocket) -> bool:
    """Pass on what comes until its end; False when the broker went before."""
    with selectors.DefaultSelector() as ready:
        ready.register(other, selectors.EVENT_READ)
        ready.register(broker, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is broker:
                    if _left(broker):
                        return False
                elif part := other.recv(CHUNK):
                    broker.sendall(part)
                else:
                    return True


def _left(broker: ssl.SSLSocket) -> bool:
    """Say whether the broker is gone; what else there is to read is TLS's own business."""
    broker.settimeout(0)
    try:
        broker.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    else:
        return True  # the end, or words where none are due
    finally:
        broker.settimeout(None)


def main() -> None:
    """Do what the environment says; the exit status is for people who look at the pod."""
    errand = Errand.of(os.environ)
    try:
        run(errand)
    except (OSError, BrokenFrame, ValueError) as error:
        sys.stderr.write(f"sandbox: {type(error).__name__}: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
