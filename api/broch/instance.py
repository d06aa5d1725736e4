"""The composition root: one Broch put together from its packages. The only place that knows all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI

import broch_airlock.assembly_intake as intake
import broch_airlock.assembly_review as review
import broch_api.assembly_governance as governance
import broch_api.assembly_runtime as runtime
from broch import first_start, identity, migrations
from broch.adapters import adapters_of
from broch.health import datasets_part, packages_part
from broch.rendering import SandboxRenderer
from broch.run_folder import given_web_secret, web_secret
from broch_airlock.checks.ahead import ScanAhead
from broch_airlock.checks.clamd_config import DEMO, DEMO_NAME, demo_signatures, demo_signatures_at
from broch_airlock.checks.clamd_process import ClamdSetup
from broch_airlock.checks.policy import CLAMD_LARGEST, Policy
from broch_airlock.checks.supervisor import check_files
from broch_airlock.door.app import make_door_app
from broch_airlock.shelves import Shelves
from broch_airlock.viewer.app import make_viewer_app
from broch_api.datasets.verify import VersionVerifier
from broch_api.freeze.service import FreezeDesk
from broch_api.home.service import HomeCard
from broch_api.internal.credentials import ServiceTokens
from broch_api.packages.route_lists import PackageListRegister
from broch_api.status.parts import PartHealth, export_part
from broch_core.actors import Actor
from broch_core.audit.denials import DenialLog
from broch_core.audit.exports.publisher import LogPublisher
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.outbox.worker import OutboxWorker
from broch_core.proof import KeyFolder
from broch_core.settings import Settings
from broch_core.store.engine import make_engine
from broch_core.store.unit import Store
from broch_core.web.app import make_app
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions

log = structlog.get_logger()

BANNER = "For trying Broch: not for real sensitive data."
TEMPLATE_PACKAGES = ("broch_api", "broch_airlock")
DEMO_RENEWAL = timedelta(hours=12)
OUTBOX_LANES = (
    ("workspace.start", "workspace.stop", "entrant.end"),
    ("airlock.check",),
    ("package.lookup", "dataset.protect"),
)
"""Kinds of the outbox that wait for none but their own. Somebody sits before a start, which fails after two minutes; one
request may be checked for ten, and a registry may take its time: a few of those must stop neither starts nor releases."""
PERIOD_SECONDS = 20.0
"""How often deadlines, forgotten uploads and due re-verifications are looked at."""


@dataclass(frozen=True)
class Apps:
    """What listens where."""

    control: FastAPI
    airlock: FastAPI
    viewer: FastAPI
    internal: FastAPI
    door: FastAPI


class Instance:
    """One running Broch: its services, its apps, its work in the background."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.on_cluster:
            # A hook of the chart brings it up to date, as its owner; a rollback does not take it back.
            migrations.require_current(settings.store_url())
        else:
            first_start.set_aside_broken(settings)
            owner = settings.database_owner_url
            migrations.upgrade(owner.get_secret_value() if owner else settings.store_url())
        store = Store(make_engine(settings.store_url()))
        keys = KeyFolder(settings.keys_folder, settings.log_name)
        keys.create(utc_now())
        sessions = Sessions(store, _web_secret(settings), settings.session_lifetime)
        adapters = adapters_of(settings, store)
        adapters.blobs.sweep()
        self.audit_log = AuditLog(store, keys, settings.log_name)
        policy = Policy(
            max_signature_age=settings.signature_age,
            max_file_bytes=min(settings.airlock_file_bytes, CLAMD_LARGEST),
        )
        self.services: dict[type, Any] = {
            Store: store,
            Settings: settings,
            Sessions: sessions,
            KeyFolder: keys,
            AuditLog: self.audit_log,
            DenialLog: DenialLog(store),
            Policy: policy,
            **adapters.services,
        }
        ahead = ScanAhead(policy, adapters.antivirus)
        scan = partial(
            check_files, policy=policy, antivirus=adapters.antivirus, sandbox=adapters.sandbox, ahead=ahead
        )
        self.services |= intake.make_services(
            store, settings, adapters.blobs, adapters.folders, scan, ahead.offer
        )
        self.services |= review.make_services(
            store,
            self.services[Shelves],
            self.audit_log,
            keys,
            adapters.zones,
            settings,
            SandboxRenderer(adapters.sandbox),
            policy_digest=policy.digest(),
        )
        self.services |= governance.make_services(store, settings, sessions, home_cards=[self._airlock_cards])
        publisher = None
        if settings.audit_export:
            scratch = settings.folder / "exports"
            publisher = LogPublisher(store, self.audit_log, settings.audit_export, scratch)
        self.services |= runtime.make_services(
            store,
            settings,
            self.audit_log,
            self.services[DenialLog],
            adapters.premises,
            tokens=adapters.tokens,
            hub=adapters.hub,
            health=[
                *adapters.health,
                *([export_part(publisher)] if publisher else []),
                *([self._packages_part] if settings.packages_url else []),
                self._datasets_part,
            ],
        )
        self.services[Pages] = Pages(
            sessions,
            TEMPLATE_PACKAGES,
            nav=[*governance.nav(), *intake.nav(), *review.nav(self.services), *runtime.nav()],
            banner=BANNER if settings.demo else None,
            notice=lambda signed_in: self.services[FreezeDesk].notice(signed_in=signed_in),
            facts={
                "max_upload_bytes": settings.airlock_file_bytes,
                "zone_folders": not settings.on_cluster,
            },
        )
        handlers = [
            governance.outbox_handlers(self.services),
            intake.outbox_handlers(self.services),
            review.outbox_handlers(self.services),
            runtime.outbox_handlers(self.services),
        ]
        self._outbox = OutboxWorker(
            store, {kind: call for part in handlers for kind, call in part.items()}, lanes=OUTBOX_LANES
        )
        self._reconciler = runtime.make_reconciler(self.services)
        self._revocations = runtime.make_revocation_watch(self.services)
        self._clockwork = Clockwork(
            [
                *intake.periodic(self.services),
                *governance.periodic(self.services),
                *([partial(refresh_demo_signatures, adapters.clamd)] if adapters.clamd else []),
            ]
        )

        self._verifier: VersionVerifier = self.services[VersionVerifier]
        # Apart from the others: a large version is read for hours, a slow place keeps one waiting.
        self._reading = Clockwork([self._verifier.sweep])
        exporting = [] if publisher is None else [publisher.publish]
        self._exports = Clockwork(exporting, period=settings.audit_export_interval.total_seconds())

    def _airlock_cards(self, actor: Actor) -> list[HomeCard]:
        return [HomeCard(action="Open", **card) for card in review.home_cards(self.services, actor)]

    def _packages_part(self) -> PartHealth:
        return packages_part(self.services[PackageListRegister])

    def _datasets_part(self) -> PartHealth:
        return datasets_part(self._verifier)

    def seed(self) -> None:
        """Fill an empty Broch with the demo, if settings want it."""
        if self.settings.demo:
            from broch.demo.seed import Seed, is_empty  # noqa: PLC0415 - images for clusters are made without it

            if is_empty(self.services[Store]):
                first_start.begin(self.settings)
                Seed(self.services).plant()
        first_start.done(self.settings)

    def apps(self) -> Apps:
        """Make the apps."""
        common: dict[str, Any] = {"services": self.services, "shell_origin": self.settings.shell_origin}
        return Apps(
            control=make_app(
                "Broch control plane",
                "People, projects, data, workspaces and the audit log of a Trusted Research Environment.",
                [*governance.routers(), *runtime.routers()],
                docs_prefix="/api/v1",
                **common,
            ),
            airlock=make_app(
                "Broch airlock",
                "What crosses the boundary of a project: checked, reviewed by two, released with proof.",
                [*review.routers(), *intake.routers(zone_folders=not self.settings.on_cluster)],
                docs_prefix="/api/v1/airlock",
                **common,
            ),
            viewer=make_viewer_app(self.services),
            internal=runtime.make_internal_app(self.services),
            door=make_door_app(
                self.services, self.services[ServiceTokens].gateway if self.settings.on_cluster else None
            ),
        )

    def start(self) -> None:
        """Begin the work in the background."""
        if not self.settings.on_cluster:
            identity.record_restoration(self.services[Store], self.settings.folder)
        self.audit_log.start()
        self._outbox.start()
        self._reconciler.start()
        self._revocations.start()
        self._clockwork.start()
        self._reading.start()
        self._exports.start()

    def stop(self) -> None:
        """Finish what is in hand and end."""
        self._verifier.end()
        self._reading.stop()
        self._exports.stop()
        self._clockwork.stop()
        self._revocations.stop()
        self._reconciler.stop()
        self._outbox.stop()
        self.audit_log.stop()
        self.services[Store].engine.dispose()


def _web_secret(settings: Settings) -> bytes:
    return (
        given_web_secret(settings.secrets_folder) if settings.on_cluster else web_secret(settings.keys_folder)
    )


class Clockwork:
    """Calls what must be called now and then, each on its own: one that fails does not keep the others waiting."""

    def __init__(self, calls: Sequence[Callable[[], int]], *, period: float = PERIOD_SECONDS) -> None:
        self._calls = calls
        self._period = period
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="clockwork", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the call in hand."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _loop(self) -> None:
        while not self._end.wait(self._period):
            for call in self._calls:
                try:
                    call()
                except Exception:
                    log.exception("clockwork.failed")


def refresh_demo_signatures(setup: ClamdSetup) -> int:
    """Make the demo signature anew twice a day while Broch runs: its age is the file's, and nobody else renews it."""
    if setup.signatures != DEMO:
        return 0
    made = demo_signatures_at(setup.database / DEMO_NAME)
    if made is None or utc_now() - made > DEMO_RENEWAL:
        demo_signatures(setup.database)
        return 1
    return 0
