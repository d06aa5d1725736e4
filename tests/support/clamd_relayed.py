"""A relay before a real clamd, as an ordinary user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broch_airlock.checks import clamd_relay
from broch_airlock.checks.antivirus import RelayedClamd
from broch_airlock.checks.clamd_connection import RelayAddress
from support.cluster.authority import Authority
from support.ordinary import become_ordinary

NAME = "localhost"


@dataclass
class Relayed:
    """A running relay."""

    folder: Path
    port: int

    def antivirus(self, *, test_signatures: bool = True, tls: str = "web") -> RelayedClamd:
        """Return web's side."""
        return RelayedClamd(
            RelayAddress(f"{NAME}:{self.port}", self.folder / tls), test_signatures=test_signatures
        )


@contextlib.contextmanager
def relayed(socket: Path, signatures: Path | None, **changes: object) -> Iterator[Relayed]:
    """Run a relay before this socket of clamd."""
    folder = Path(tempfile.mkdtemp(prefix="broch-relay-"))
    authority = Authority()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            try:
                os.close(reading)
                become_ordinary(folder)
                for who in ("relay", "web"):
                    authority.issue(NAME, f"{who}.test").write(folder / who)
                Authority("another").issue(NAME).write(folder / "stranger")
                authority.write(folder / "stranger" / "ca.crt")
                settings = clamd_relay.RelaySettings.model_validate(
                    {
                        "tls": folder / "relay",
                        "listen": "127.0.0.1",
                        "port": 0,
                        "socket": socket,
                        "test_signatures": signatures,
                    }
                    | changes
                )
                told = lambda port: os.write(writing, b"%d\n" % port)  # noqa: E731 - one line, used once
                asyncio.run(clamd_relay.serve(settings, told))
            except BaseException:  # noqa: BLE001 - a forked child reports everything and never returns
                traceback.print_exc(file=sys.__stderr__)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        port = pipe.readline()
    assert port, "the relay did not start"
    # Ours from here on: tests write into it, and read the keys in it.
    try:
        yield Relayed(folder, int(port))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)
