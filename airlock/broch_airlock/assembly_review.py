"""Putting the second half of the airlock together: review, viewer, release, downloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broch_airlock.release import pages as release_pages
from broch_airlock.release import routes as release_routes
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.service import Releaser, Zones
from broch_airlock.retention import routes as retention_routes
from broch_airlock.retention.eraser import Eraser
from broch_airlock.retention.service import CertificateDesk
from broch_airlock.review import pages as review_pages
from broch_airlock.review import routes as review_routes
from broch_airlock.review.service import ReviewDesk
from broch_airlock.review.summary import RequestCounter
from broch_airlock.shelves import Shelves
from broch_airlock.viewer.service import Renderer, ViewDesk
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.log import AuditLog
from broch_core.outbox.worker import Handler
from broch_core.proof import KeyFolder
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.pages import NavItem
from broch_core.web.routing import Router


def make_services(
    store: Store,
    shelves: Shelves,
    audit_log: AuditLog,
    keys: KeyFolder,
    zones: Zones,
    settings: Settings,
    renderer: Renderer,
    *,
    policy_digest: str,
) -> dict[type, Any]:
    """Make the services, by type.

    Args:
        store: the database.
        shelves: the bytes of requests.
        audit_log: the log that releases are proved by.
        keys: statement and checkpoint keys.
        zones: where imports are placed.
        settings: lifetimes and origins.
        renderer: turns files into inert pages.
        policy_digest: SHA-256 of the policy of the checks, for the attestation.
    """
    return {
        ReviewDesk: ReviewDesk(store),
        RequestCounter: RequestCounter(store),
        DownloadDesk: DownloadDesk(store, shelves.blobs, settings),
        ViewDesk: ViewDesk(store, shelves.blobs, settings, renderer),
        Releaser: Releaser(store, shelves, audit_log, keys, zones, policy_digest=policy_digest),
        ReleaseOverseer: ReleaseOverseer(store, keys, zones, audit_log.origin),
        Eraser: Eraser(store, shelves, audit_log, keys, settings),
        CertificateDesk: CertificateDesk(store),
        KeyFolder: keys,
    }


def routers() -> list[Router]:
    """Return the routes. They stand before those of requests, whose paths have a variable in the same place."""
    return [
        review_routes.router,
        release_routes.router,
        retention_routes.router,
        review_pages.router,
        release_pages.router,
        retention_routes.pages,
    ]


def nav(services: Mapping[type, Any]) -> list[NavItem]:
    """Return the entries of the navigation."""
    desk: ReviewDesk = services[ReviewDesk]
    return [
        NavItem(
            "Review",
            "/airlock/review",
            "r",
            shown=lambda actor: actor.has(PlatformRole.REVIEWER),
            badge=desk.waiting,
        ),
        NavItem("Releases", "/airlock/releases", "x", shown=lambda actor: actor.has(PlatformRole.ADMIN)),
    ]


def outbox_handlers(services: Mapping[type, Any]) -> dict[str, Handler]:
    """Return the handlers of the outbox."""
    releaser: Releaser = services[Releaser]
    overseer: ReleaseOverseer = services[ReleaseOverseer]
    eraser: Eraser = services[Eraser]
    return {
        "airlock.release": releaser.release,
        "airlock.recall": overseer.take_back,
        "airlock.erase": eraser.erase,
    }


def home_cards(services: Mapping[type, Any], actor: Actor) -> list[dict[str, Any]]:
    """Return the cards of the start page: `{title, href, text, count}`, what needs the person first."""
    desk: ReviewDesk = services[ReviewDesk]
    counter: RequestCounter = services[RequestCounter]
    cards: list[dict[str, Any]] = []
    if actor.has(PlatformRole.REVIEWER):
        waiting = desk.waiting(actor)
        text = "requests wait for your decision." if waiting != 1 else "request waits for your decision."
        cards.append({"title": "Review", "href": "/airlock/review", "text": text, "count": waiting})
    if actor.memberships:
        counts = counter.of_actor(actor)
        needed = counts.drafts + counts.returned
        for title, text, count in (
            ("Airlock: your turn", "drafts to confirm or requests to change.", needed),
            ("Airlock: under way", "requests are checked, reviewed or released.", counts.moving),
        ):
            if count:
                cards.append({"title": title, "href": "/airlock", "text": text, "count": count})
    return cards
