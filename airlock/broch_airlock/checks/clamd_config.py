"""clamd's configuration as a pure function, and a signature database of our own for trying Broch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SYSTEM_DATABASE = Path("/var/lib/clamav")
DEMO_NAME = "broch-demo.ndb"
SYSTEM, DEMO = "system", "demo (EICAR only)"
_LARGEST = (2 << 30) - 1


@dataclass(frozen=True)
class ClamdSettings:
    """What can be chosen about clamd; clamd.conf(5) has the meaning of each directive."""

    max_file_bytes: int = _LARGEST
    """Largest piece. clamd cannot scan 2 GiB or more, and says OK."""
    max_scan_bytes: int = 4 << 30
    """All that clamd itself unfolds from one piece."""
    max_files: int = 10_000
    """Members that clamd itself unfolds from one piece; like our own limit. Its time grows with their square."""
    max_recursion: int = 17
    """Depth that clamd itself goes; ours ends at 8."""
    scan_seconds: int = 120
    """Longest scan of one piece; a little less than we wait, so that clamd says why."""
    threads: int = 8
    """Scans at once."""


def clamd_conf(run: Path, database: Path, settings: ClamdSettings | None = None) -> str:
    """Return clamd.conf for one clamd of ours.

    Args:
        run: folder of its socket and temporary files (0700, ours).
        database: folder of signatures.
        settings: limits.

    Raises:
        ValueError: a path that the format cannot express (it has no quoting).
    """
    chosen = settings or ClamdSettings()
    for path in (run, database):
        if any(char.isspace() or not char.isprintable() for char in str(path)) or not path.is_absolute():
            raise ValueError(f"clamd.conf cannot hold the path {str(path)!r}")
    largest = min(chosen.max_file_bytes, _LARGEST)
    lines = {
        "Foreground": "yes",
        "LocalSocket": run / "clamd.sock",
        "LocalSocketMode": "600",
        "FixStaleSocket": "yes",
        "TemporaryDirectory": run,
        "DatabaseDirectory": database,
        "LogTime": "yes",
        "ExitOnOOM": "yes",
        "MaxThreads": chosen.threads,
        "MaxQueue": 4 * chosen.threads,
        "ReadTimeout": chosen.scan_seconds,
        "CommandReadTimeout": 5,
        "StreamMaxLength": largest,
        "MaxFileSize": largest,
        "MaxScanSize": chosen.max_scan_bytes,
        "MaxScanTime": chosen.scan_seconds * 1000,
        "MaxFiles": chosen.max_files,
        "MaxRecursion": chosen.max_recursion,
        # Above these clamd silently skips the finer look.
        "MaxEmbeddedPE": 512 << 20,
        "MaxHTMLNormalize": 512 << 20,
        "MaxHTMLNoTags": 128 << 20,
        "MaxScriptNormalize": 256 << 20,
        "MaxZipTypeRcg": 64 << 20,
        "PCREMaxFileSize": 0,
        "AlertExceedsMax": "yes",
        "AlertEncrypted": "yes",
        "AlertEncryptedArchive": "yes",
        "AlertEncryptedDoc": "yes",
        "AlertBrokenExecutables": "no",
        "AlertBrokenMedia": "no",
        # The cache of clean files goes by MD5: a clean file and a bad one can be made to have the same.
        "DisableCache": "yes",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def freshclam_conf(
    database: Path,
    *,
    mirror: str,
    private: bool = False,
    clamd: Path | None = None,
    checks: int = 12,
    proxy: str = "",
) -> str:
    """Return freshclam.conf for one freshclam beside a clamd of ours.

    Args:
        database: folder of signatures.
        mirror: host (or address) that signatures come from. Nothing is assumed: a hospital has one of its own.
        private: it is such a mirror: asked over HTTP as it stands, without looking up versions in the DNS.
        clamd: clamd.conf, whose clamd is told of new signatures; otherwise it looks every ten minutes.
        checks: a day, 1 to 50.
        proxy: `HOST:PORT` of an HTTP proxy.

    Raises:
        ValueError: a value that the format cannot express, or that is out of bounds.
    """
    if not 1 <= checks <= 50:
        raise ValueError("freshclam looks 1 to 50 times a day")
    host, _, port = proxy.rpartition(":")
    for value in (str(database), mirror, str(clamd or "/"), host):
        if any(char.isspace() or not char.isprintable() for char in value):
            raise ValueError(f"freshclam.conf cannot hold {value!r}")
    if not mirror or mirror.startswith("#") or (proxy and not (host and port.isdigit())):
        raise ValueError("freshclam needs a mirror, and of a proxy host and port")
    lines: dict[str, object] = {
        "Foreground": "yes",
        "DatabaseDirectory": database,
        "PrivateMirror" if private else "DatabaseMirror": mirror,
        "ScriptedUpdates": "no" if private else "yes",
        "Checks": checks,
        "LogTime": "yes",
        # Loads what came before it takes the place of what is there: a broken file never does.
        "TestDatabases": "yes",
        "Bytecode": "yes",
        "ConnectTimeout": 30,
        "ReceiveTimeout": 300,
    }
    if clamd is not None:
        lines["NotifyClamd"] = clamd
    if proxy:
        lines |= {"HTTPProxyServer": host, "HTTPProxyPort": port}
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def eicar() -> bytes:
    """Return the EICAR test file (68 bytes), put together here so that scanners leave our sources alone."""
    return b"".join(
        (b"X5O!P%@AP[4\\PZX54(P^)", b"7CC)7}$EIC", b"AR-STANDARD-ANTI", b"VIRUS-TEST-FILE", b"!$H+H*")
    )


def demo_signatures(database: Path) -> Path:
    """Write a signature database that knows EICAR and nothing else; returns its file.

    Its age is the file's (see `demo_signatures_at`): writing it again makes it young again.
    """
    database.mkdir(parents=True, exist_ok=True)
    file = database / DEMO_NAME
    new = file.with_suffix(".new")
    new.write_text(f"Broch.Demo.EICAR:0:*:{eicar().hex()}\n", encoding="ascii")
    os.replace(new, file)  # noqa: PTH105 (the word says that it is atomic)
    return file


def demo_signatures_at(file: Path) -> datetime | None:
    """Return when the demo signatures were written (UTC); None when they are gone."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:
        return None


def has_system_signatures(database: Path = SYSTEM_DATABASE) -> bool:
    """Say whether freshclam has put the official signatures (main and daily) there."""
    return all(
        any((database / f"{name}.{kind}").is_file() for kind in ("cvd", "cld")) for name in ("main", "daily")
    )
