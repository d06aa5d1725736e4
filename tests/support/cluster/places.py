"""Where processes of the tests run: this machine, the node's network, a network beyond the node."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A network namespace, and the address that processes in it listen on."""

    address: str
    enter: tuple[str, ...] = ()
    """Words before a command that start it there; the namespace of the network alone differs."""

    def run(self, *words: str | Path, timeout: float = 30) -> str:
        """Run a command there to its end and return what it printed.

        Raises:
            AssertionError: it failed; its output is in the message.
        """
        command = [*self.enter, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(
        self,
        words: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        account: str = "",
        ready: Callable[[], bool] | None = None,
        seconds: float = 60,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command there for the time of a `with` block.

        It dies with this process, however this process ends.

        Args:
            words: the command.
            log: file for everything it prints.
            environment: all that it gets besides `PATH` and a locale.
            account: who it runs as; empty: who runs the tests.
            ready: asked until it says yes, before the block begins.
            seconds: how long that may take.

        Raises:
            AssertionError: it ended, or was not ready in time; the end of its log is in the message.
        """
        # After the change of user, which would clear it.
        bound = ["setpriv", "--pdeathsig", "KILL"]
        if account and os.geteuid() == 0:
            user = pwd.getpwnam(account)
            bound += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        everything = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(log.parent),
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self.enter, *bound, "--", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=everything | dict(environment or {}),
            )
        try:
            end = time.monotonic() + seconds
            while ready is not None and not ready():
                shown = log.read_text(errors="replace")[-3000:]
                assert process.poll() is None, f"{words[0]} ended with {process.returncode}:\n{shown}"
                assert time.monotonic() < end, f"{words[0]} was not ready in {seconds:.0f} s:\n{shown}"
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def answers(address: str, port: int) -> Callable[[], bool]:
    """Return a question: does something accept connections at that address?"""

    def ask() -> bool:
        try:
            with socket.create_connection((address, port), timeout=1):
                return True
        except OSError:
            return False

    return ask
