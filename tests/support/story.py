"""Running documented command lines, one after the other, against a running Broch."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broch.cli.main import app as broch_app
from support.ports import free_port
from support.running import RunningBroch, client

REQUEST = "01JD3W7Z"
"""Stands in the documents for the newest request."""
RECORD = "01JD3W7Z8Q5T9XK2M4N6P8R0SV"
"""Stands in the documents for the newest audit record of a release."""
DIGEST = "9f86d081884c7d659a2feaa0c55ad015"
"""Stands in the documents for the beginning of the digest of the file that is decided on."""
_TODAY = datetime.now(UTC).date()
_DATES = {"2026-12-01": str(_TODAY), "2027-11-30": str(_TODAY + timedelta(days=300))}
_MOVING = frozenset({"submitted", "checking", "approved", "releasing"})
_SETTLE_SECONDS = 90.0


@dataclass
class Story:
    """A person at a terminal in an empty folder, beside a running Broch."""

    broch: RunningBroch
    folder: Path
    patch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        """Go to the folder, with a home of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.patch.chdir(self.folder)
        for name in [name for name in os.environ if name.startswith(("BROCH_", "XDG_"))]:
            self.patch.delenv(name)
        self.patch.setenv("HOME", str(self.folder.parent))
        self.patch.setenv("BROCH_SERVER", self.broch.api)
        self.patch.setenv("BROCH_PORT", str(free_port()))  # doctor asks whether the next start finds it free

    def run(self, line: str, code: int = 0) -> str:
        """Run one line as documented, with its stand-ins replaced; return all that it printed.

        A question is answered by yes. What the line set in motion has come to rest when this returns.
        """
        words = shlex.split(self.filled(line))
        if words[0] not in {"broch", "./broch"}:
            subprocess.run(words, cwd=self.folder, check=True)
            return ""
        result = CliRunner().invoke(broch_app, words[1:], input="y\n")
        assert result.exit_code == code, f"{shlex.join(words)}\n{result.output}\n{result.exception!r}"
        self.settle()
        return result.output

    def filled(self, line: str) -> str:
        """Return a line with the things of now in place of those of the document."""
        for shown, now in {**_DATES, "/srv/broch": str(self.broch.folder)}.items():
            line = line.replace(shown, now)
        if RECORD in line:
            line = line.replace(RECORD, self._ask("sunniva", "audit/records?action=airlock:release")["id"])
        if DIGEST in line:
            name = re.split(r"\s+", line)[4]
            files = self._ask("ada", f"airlock/requests/{self.newest()['id']}")["file_list"]
            line = line.replace(DIGEST, next(row["sha256"][:32] for row in files if row["name"] == name))
        return line.replace(REQUEST, self.newest()["id"]) if REQUEST in line else line

    def newest(self) -> dict[str, Any]:
        """Return ada's newest request."""
        return self._ask("ada", "airlock/requests?limit=1")

    def settle(self) -> None:
        """Wait until the newest request is nobody's but a person's to move."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self.newest().get("status") in _MOVING:
            assert time.monotonic() < deadline, f"still {self.newest()['status']}\n{self.broch.logs()}"
            time.sleep(0.2)

    def zone(self, slug: str) -> Path:
        """Return the folder /project of a project's zone, made by Broch if need be."""
        id_ = self._ask("sunniva", f"projects?slug={slug}")["id"]
        self._ask("ada", f"airlock/zones/{id_}")
        return self.broch.folder / "zones" / id_ / "project"

    def _ask(self, handle: str, path: str) -> dict[str, Any]:
        with client(self.broch, handle) as api:
            answer = api.get(f"/api/v1/{path}")
        answer.raise_for_status()
        found = answer.json()
        if "items" not in found:
            return dict(found)
        return dict(found["items"][0]) if found["items"] else {}
