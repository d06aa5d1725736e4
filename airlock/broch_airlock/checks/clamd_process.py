"""A clamd of our own: found, started, waited for. Used by `broch up` and by the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO

from broch_airlock.checks.antivirus import ClamdAntivirus
from broch_airlock.checks.clamd_config import (
    DEMO,
    SYSTEM,
    SYSTEM_DATABASE,
    ClamdSettings,
    clamd_conf,
    demo_signatures,
    demo_signatures_at,
    has_system_signatures,
)
from broch_airlock.checks.model import Verdict

_REMEDY = "Run: sudo apt-get install clamav-daemon"
_START_SECONDS = 120.0
"""Loading the official signatures takes some 20 s on a slow disk."""


class ClamdUnavailable(RuntimeError):
    """clamd cannot be had here; the text says why and what mends it."""


@dataclass(frozen=True)
class ClamdSetup:
    """One clamd of ours: where its files are and which signatures it has."""

    config: Path
    socket: Path
    database: Path
    signatures: str
    """`system` or `demo (EICAR only)`."""

    def antivirus(self) -> ClamdAntivirus:
        """Return the adapter that speaks to it."""
        if self.signatures == SYSTEM:
            return ClamdAntivirus(self.socket, label=SYSTEM)
        file = next(iter(self.database.glob("*.ndb")), self.database / "missing")
        return ClamdAntivirus(
            self.socket, signatures_at=partial(demo_signatures_at, file), label=self.signatures
        )


def find_clamd() -> str | None:
    """Return the path of clamd, which often lies in /usr/sbin and so not on PATH; None when not installed."""
    return shutil.which(
        "clamd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    )


def prepare_clamd(
    folder: Path,
    run: Path,
    *,
    settings: ClamdSettings | None = None,
    system: Path = SYSTEM_DATABASE,
) -> ClamdSetup:
    """Write the configuration, and demo signatures when the official ones are not there.

    Args:
        folder: for the configuration and demo signatures.
        run: for the socket (short path) and temporary files.
        settings: limits of clamd.
        system: where freshclam puts the official signatures.
    """
    for path in (folder, run):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if has_system_signatures(system):
        database, signatures = system, SYSTEM
    else:
        database, signatures = folder / "database", DEMO
        demo_signatures(database)
    config = folder / "clamd.conf"
    config.write_text(clamd_conf(run, database, settings), encoding="utf-8")
    return ClamdSetup(config, run / "clamd.sock", database, signatures)


def start_clamd(setup: ClamdSetup, *, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start clamd in the foreground of its own session; it ends with `terminate()`. Returns at once.

    Raises:
        ClamdUnavailable: not installed, or this process is root (give up root first).
    """
    executable = find_clamd()
    if executable is None:
        raise ClamdUnavailable(f"clamd is not installed. {_REMEDY}")
    if os.geteuid() == 0:
        raise ClamdUnavailable(
            "clamd reads hostile files and is not started by root. Start Broch with `broch up`."
        )
    # UTC: clamd writes the date of its signatures in local time, without saying which.
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "TZ": "UTC"}
    return subprocess.Popen(
        [executable, "--foreground", "--config-file", str(setup.config)],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log if log is not None else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for_clamd(
    setup: ClamdSetup, process: subprocess.Popen[bytes], seconds: float = _START_SECONDS
) -> None:
    """Wait until clamd answers.

    Raises:
        ClamdUnavailable: it ended, or did not answer in time.
    """
    antivirus = setup.antivirus()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ClamdUnavailable(f"clamd ended with status {process.returncode}. Look at its log.")
        # Old signatures are an answer too; they show in /readyz.
        if antivirus.health(timedelta.max).verdict is not Verdict.ERROR:
            return
        time.sleep(0.05)
    raise ClamdUnavailable(f"clamd did not answer within {seconds:g} s. Look at its log.")
