"""The adapters in force: folders and sandboxes on one machine, or the services of a cluster (design.md, *Modes*)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from broch.health import (
    SANDBOX_SECONDS,
    SCANNER_SECONDS,
    blobs_part,
    broker_part,
    controller_part,
    relayed_scanner_part,
    sandbox_part,
    scanner_part,
    zones_part,
)
from broch_airlock.checks.antivirus import Antivirus, RelayedClamd
from broch_airlock.checks.clamd_connection import RelayAddress
from broch_airlock.checks.clamd_process import ClamdSetup, prepare_clamd
from broch_airlock.checks.sandbox import BubblewrapSandbox, Sandbox
from broch_airlock.release.cluster_zones import ClusterZones
from broch_airlock.release.service import Zones
from broch_api.internal.credentials import ServiceTokens
from broch_api.status.parts import HealthPart, Remembered
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.premises import ClusterPremises, FolderPremises, Premises
from broch_api.zones.service import ZoneRegister
from broch_api.zones.specs import ZoneDefaults
from broch_core.blobs import Blobs, FolderBlobs
from broch_core.blobs_s3 import S3Blobs
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import Quota
from broch_workspaces.profiles import parse_profiles
from broch_workspaces.sandboxes.client import BrokerSandbox
from broch_workspaces.zones import FolderZones


@dataclass(frozen=True)
class Adapters:
    """Everything that differs between one machine and a cluster."""

    blobs: Blobs
    zones: Zones
    premises: Premises
    antivirus: Antivirus
    sandbox: Sandbox
    hub: HubClient
    tokens: ServiceTokens
    health: tuple[HealthPart, ...]
    services: dict[type, Any]
    """Further services by type, for who asks for them."""
    clamd: ClamdSetup | None = None
    """The scanner of this machine, whose demo signatures have to be renewed."""
    folders: FolderZones | None = None
    """The zones' folders, where this machine has them: people may pick files from them."""


def adapters_of(settings: Settings, store: Store) -> Adapters:
    """Make the adapters that the settings ask for."""
    return _cluster(settings, store) if settings.on_cluster else _one_machine(settings)


def _one_machine(settings: Settings) -> Adapters:
    blobs = FolderBlobs(settings.folder / "blobs")
    zones = FolderZones(settings.folder / "zones")
    zones.sweep()
    clamd = prepare_clamd(settings.folder / "clamd", settings.run / "clamd")
    antivirus = clamd.antivirus()
    tokens = ServiceTokens.load(settings.secrets_folder)
    return Adapters(
        blobs=blobs,
        zones=zones,
        premises=FolderPremises(settings.folder / "datasets", zones),
        antivirus=antivirus,
        sandbox=BubblewrapSandbox(),
        hub=HubClient(settings.run / "hub" / "hub.sock", tokens.web),
        tokens=tokens,
        health=(
            Remembered(partial(scanner_part, antivirus, settings.signature_age), SCANNER_SECONDS),
            Remembered(sandbox_part, SANDBOX_SECONDS),
        ),
        services={FolderBlobs: blobs, FolderZones: zones},
        clamd=clamd,
        folders=zones,
    )


def _cluster(settings: Settings, store: Store) -> Adapters:
    tls = _said(settings.tls)
    bucket, _, prefix = _said(settings.blobs).removeprefix("s3://").partition("/")
    blobs = S3Blobs(
        bucket,
        prefix,
        settings.folder / "blobs",
        endpoint=settings.s3_endpoint,
        ca=settings.s3_ca,
        kms_key=settings.s3_kms_key,
    )
    register = ZoneRegister(
        store,
        ZoneDefaults(
            store=parse_source(settings.dataset_store),
            quota=Quota.model_validate(settings.zone_quota),
            home_bytes=settings.zone_home_bytes,
            project_bytes=settings.zone_project_bytes,
            imports_bytes=settings.zone_imports_bytes,
        ),
    )
    antivirus = RelayedClamd(
        RelayAddress(_said(settings.clamd), tls), test_signatures=settings.clamd_test_signatures
    )
    sandbox = BrokerSandbox(_said(settings.sandboxes), tls, settings.secrets_folder / "sandboxes")
    tokens = ServiceTokens.load(settings.secrets_folder, cluster=True)
    return Adapters(
        blobs=blobs,
        zones=ClusterZones(store),
        premises=ClusterPremises(register, parse_profiles(settings.profiles), settings),
        antivirus=antivirus,
        sandbox=sandbox,
        hub=HubClient.over_tls(_said(settings.hub_api), tls, tokens.web),
        tokens=tokens,
        health=(
            Remembered(partial(relayed_scanner_part, antivirus, settings.signature_age), SCANNER_SECONDS),
            Remembered(partial(broker_part, sandbox), SCANNER_SECONDS),
            Remembered(partial(blobs_part, blobs), SCANNER_SECONDS),
            partial(controller_part, register),
            partial(zones_part, register),
        ),
        services={ZoneRegister: register},
    )


T = TypeVar("T")


def _said(value: T | None) -> T:
    """Return a setting that the mode asks for; `Settings` has refused to be without it."""
    if value is None:
        raise ValueError("a setting of the cluster mode is missing")
    return value
