"""Parts of `/readyz` that only the composition root can ask: the virus scanner and the sandbox."""

from __future__ import annotations

from datetime import timedelta

from broch_airlock.checks.antivirus import Antivirus
from broch_airlock.checks.clamd_process import find_clamd
from broch_airlock.checks.model import Verdict
from broch_api.datasets.verify import VersionVerifier
from broch_api.packages.route_lists import PackageListRegister
from broch_api.status.parts import PartHealth
from broch_api.zones.service import ZoneRegister
from broch_core.blobs_s3 import S3Blobs
from broch_core.clock import utc_now
from broch_core.errors import Unavailable
from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandbox.probe import probe
from broch_workspaces.sandboxes.client import BrokerSandbox

SCANNER_SECONDS = 2.0
CONTROLLER_SILENT = timedelta(seconds=90)
"""A long poll takes 30 s; three without a question."""
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


def relayed_scanner_part(antivirus: Antivirus, longest_age: timedelta) -> PartHealth:
    """Ask the scanner of a cluster."""
    health = antivirus.health(longest_age)
    remedy = (
        None if health.ok else "Look at clamd's pods: kubectl logs deploy/<release>-clamd --all-containers"
    )
    return PartHealth(
        "antivirus",
        ok=health.ok,
        why=health.engine if health.ok else health.reason,
        remedy=remedy,
        title="Virus scanner",
    )


def datasets_part(verifier: VersionVerifier) -> PartHealth:
    """Tell of versions that could not be read again: nothing is known of their bytes until they can."""
    unread = verifier.unread()
    why = (
        "; ".join(f"Version {version_id}: {reason}" for version_id, reason in list(unread.items())[:3])
        or "All that was read again is what was sealed."
    )
    return PartHealth(
        "datasets",
        ok=not unread,
        why=f"{why} And {len(unread) - 3} more." if len(unread) > 3 else why,
        remedy="Look at the disk or the share that holds datasets. Versions are tried again by themselves."
        if unread
        else None,
        needed=False,
        title="Datasets",
    )


def broker_part(sandbox: BrokerSandbox) -> PartHealth:
    """Ask the broker of sandboxes. Without it there is no check, so nothing crosses."""
    try:
        return PartHealth("sandbox", ok=True, why=sandbox.check(), title="Sandbox")
    except SandboxUnavailable as failure:
        return PartHealth("sandbox", ok=False, why=failure.what, remedy=failure.remedy, title="Sandbox")


def blobs_part(blobs: S3Blobs) -> PartHealth:
    """Ask the store of files."""
    try:
        blobs.check()
    except Unavailable as failure:
        remedy = "Look at the bucket, its credentials and the way there (settings blobs, s3_endpoint)."
        return PartHealth("blobs", ok=False, why=failure.detail, remedy=remedy, title="Store of files")
    return PartHealth("blobs", ok=True, why="It answers.", title="Store of files")


def controller_part(zones: ZoneRegister) -> PartHealth:
    """Tell whether the controller asks what zones shall be. Without it, zones stay as they are."""
    heard = zones.asked_at
    if heard is None or utc_now() - heard > CONTROLLER_SILENT:
        return PartHealth(
            "controller",
            ok=False,
            why="The controller has not asked for zones lately.",
            remedy="Look at it: kubectl logs deploy/<release>-controller",
            needed=False,
            title="Zone controller",
        )
    return PartHealth("controller", ok=True, why="It asks for zones.", needed=False, title="Zone controller")


def packages_part(lists: PackageListRegister) -> PartHealth:
    """Tell whether the package route asks what may be fetched. Without that, it serves nothing."""
    heard = lists.asked_at
    silent = heard is None or utc_now() - heard > CONTROLLER_SILENT
    return PartHealth(
        "packages",
        ok=not silent,
        why="The package route has not asked for its lists lately." if silent else "It asks for its lists.",
        remedy="Look at it: kubectl logs deploy/<release>-packages" if silent else None,
        needed=False,
        title="Package route",
    )


def zones_part(zones: ZoneRegister) -> PartHealth:
    """Tell how many zones there are, and which cannot be made, or cannot take an import."""
    phases, troubles = zones.overview()
    told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "There are none yet"
    return PartHealth(
        "zones",
        ok=not troubles,
        why=f"{told}." if not troubles else " ".join(troubles[:3]),
        remedy="Mend what the message says; the controller tries again by itself." if troubles else None,
        needed=False,
        title="Zones",
    )


def sandbox_part() -> PartHealth:
    """Make a sandbox. Without one there is neither workspace nor check."""
    try:
        result = probe()
    except SandboxUnavailable as failure:
        return PartHealth("sandbox", ok=False, why=failure.what, remedy=failure.remedy, title="Sandbox")
    version = ".".join(map(str, result.version))
    return PartHealth("sandbox", ok=True, why=f"bubblewrap {version}", title="Sandbox")
