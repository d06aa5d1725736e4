"""Parts of `/readyz` that only the composition root can ask: the virus scanner and the sandbox."""

from __future__ import annotations

from datetime import timedelta

from broch_airlock.checks.antivirus import Antivirus
from broch_airlock.checks.clamd_process import find_clamd
from broch_airlock.checks.model import Verdict
from broch_api.status.parts import PartHealth
from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandbox.probe import probe

SCANNER_SECONDS = 2.0
SANDBOX_SECONDS = 60.0
"""How long an answer stands."""


def scanner_part(antivirus: Antivirus, longest_age: timedelta) -> PartHealth:
    """Ask clamd, and look at the age of its signatures. Without it nothing is clean, so nothing crosses."""
    health = antivirus.health(longest_age)
    if health.ok:
        return PartHealth("antivirus", ok=True, why=health.engine, title="Virus scanner")
    if find_clamd() is None:
        remedy = "Run: sudo apt-get install clamav-daemon"
    elif health.verdict is Verdict.ERROR:
        remedy = "Broch starts it again by itself. If this stays, look into logs/clamd.log."
    else:
        remedy = "Run: sudo freshclam"
    return PartHealth("antivirus", ok=False, why=health.reason, remedy=remedy, title="Virus scanner")


def sandbox_part() -> PartHealth:
    """Make a sandbox. Without one there is neither workspace nor check."""
    try:
        result = probe()
    except SandboxUnavailable as failure:
        return PartHealth("sandbox", ok=False, why=failure.what, remedy=failure.remedy, title="Sandbox")
    version = ".".join(map(str, result.version))
    return PartHealth("sandbox", ok=True, why=f"bubblewrap {version}", title="Sandbox")
