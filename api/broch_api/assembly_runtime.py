"""Putting together the half of the control plane that runs things: workspaces, the hub's sign-in, audit, status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import broch_api.audit.pages
import broch_api.audit.routes
import broch_api.hub_login.pages
import broch_api.status.routes
import broch_api.workspaces.pages
import broch_api.workspaces.routes
import broch_api.workspaces.shared_pages
import broch_api.workspaces.shared_routes
from broch_api.audit.exporting import AuditExports
from broch_api.audit.service import AuditDesk
from broch_api.audit.upkeep import AuditUpkeep
from broch_api.freeze.service import FreezeDesk
from broch_api.hub_login.service import HubLogin
from broch_api.internal.app import make_internal_app
from broch_api.internal.credentials import ServiceTokens
from broch_api.revocations.service import RevocationDesk, revocations_part
from broch_api.revocations.watch import RevocationWatch
from broch_api.status.parts import (
    HealthPart,
    Remembered,
    database_part,
    disk_part,
    hub_part,
    outbox_part,
    sequencer_part,
)
from broch_api.status.service import StatusDesk
from broch_api.workspaces.effects import WorkspaceEffects
from broch_api.workspaces.entrants import EntrantEffects
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.planning import SpawnPlanner
from broch_api.workspaces.premises import Premises
from broch_api.workspaces.reconciler import Reconciler
from broch_api.workspaces.reports import WorkspaceReports
from broch_api.workspaces.service import WorkspaceDesk
from broch_api.workspaces.shared import SharedDesk
from broch_core.actions import Action
from broch_core.actors import PlatformRole
from broch_core.audit.denials import DenialLog
from broch_core.audit.log import AuditLog
from broch_core.outbox.worker import Handler
from broch_core.rules import decide
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.pages import NavItem
from broch_core.web.routing import Router

__all__ = [
    "make_internal_app",
    "make_reconciler",
    "make_revocation_watch",
    "make_services",
    "nav",
    "outbox_handlers",
    "routers",
]

_HEALTH_SECONDS = 5.0
"""How long the answer of the hub stands: probes of several callers must not become its load."""


def make_services(
    store: Store,
    settings: Settings,
    audit_log: AuditLog,
    denials: DenialLog,
    premises: Premises,
    *,
    tokens: ServiceTokens,
    hub: HubClient,
    health: Sequence[HealthPart] = (),
) -> dict[type, Any]:
    """Make the services of this half.

    Args:
        store: the database.
        settings: of this installation.
        audit_log: its log.
        denials: where refused sign-ins of the hub are noted.
        premises: where workspaces run.
        tokens: that services show each other.
        hub: the hub's API.
        health: parts that others know about (antivirus, sandbox), asked by `/readyz`; costly ones `remembered`.
    """
    effects = WorkspaceEffects(store, hub, premises)
    reconciler = Reconciler(store, hub, effects)
    watch = RevocationWatch(store, hub, on_cluster=settings.on_cluster)
    parts: tuple[HealthPart, ...] = (
        database_part(store),
        sequencer_part(audit_log),
        outbox_part(store),
        revocations_part(store, lambda: [*watch.failing, *reconciler.failing]),
        Remembered(hub_part(hub), _HEALTH_SECONDS),
        disk_part(settings.folder),
        *health,
    )
    services = (
        settings,
        tokens,
        hub,
        denials,
        effects,
        WorkspaceDesk(store, settings, premises),
        SpawnPlanner(store, premises, settings),
        WorkspaceReports(store, settings),
        HubLogin(store, settings, denials, hub),
        SharedDesk(store, settings, premises),
        EntrantEffects(hub),
        AuditDesk(store, audit_log),
        AuditExports(store, audit_log),
        AuditUpkeep(store, audit_log),
        StatusDesk(store, audit_log, settings, parts),
        reconciler,
        FreezeDesk(store),
        RevocationDesk(store, on_cluster=settings.on_cluster),
        watch,
    )
    return {type(service): service for service in services}


def make_reconciler(services: Mapping[type, Any]) -> Reconciler:
    """Return the reconciler; `start()` it with the other threads, and `stop()` it."""
    reconciler: Reconciler = services[Reconciler]
    return reconciler


def make_revocation_watch(services: Mapping[type, Any]) -> RevocationWatch:
    """Return what follows revocations to their end; `start()` it with the other threads, and `stop()` it."""
    watch: RevocationWatch = services[RevocationWatch]
    return watch


def routers() -> list[Router]:
    """Return the routes of this half that browsers and the API see."""
    return [
        broch_api.workspaces.routes.router,
        broch_api.workspaces.shared_routes.router,
        broch_api.audit.routes.router,
        broch_api.status.routes.router,
        broch_api.workspaces.pages.router,
        broch_api.workspaces.shared_pages.router,
        broch_api.hub_login.pages.router,
        broch_api.audit.pages.router,
        broch_api.status.routes.pages,
    ]


def nav() -> list[NavItem]:
    """Return the entries of the navigation, in order."""
    return [
        NavItem(
            "Workspaces",
            "/workspaces",
            "w",
            shown=lambda actor: bool(actor.memberships) or actor.has(PlatformRole.ADMIN),
        ),
        NavItem("Audit", "/audit", "l", shown=lambda actor: decide(actor, Action.AUDIT_READ).allowed),
        NavItem("Status", "/status", "s", shown=lambda actor: decide(actor, Action.STATUS_READ).allowed),
    ]


def outbox_handlers(services: Mapping[type, Any]) -> dict[str, Handler]:
    """Return the side effects that this half carries out."""
    effects: WorkspaceEffects = services[WorkspaceEffects]
    entrants: EntrantEffects = services[EntrantEffects]
    return {
        "workspace.start": effects.start,
        "workspace.stop": effects.stop,
        "entrant.end": entrants.end,
    }
