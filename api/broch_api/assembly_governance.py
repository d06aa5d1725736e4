"""Putting together the half of the control plane that governs: sign-in, people, projects, data, the first page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import broch_api.datasets.grant_pages
import broch_api.datasets.grant_routes
import broch_api.datasets.pages
import broch_api.datasets.routes
import broch_api.freeze.routes
import broch_api.home.pages
import broch_api.packages.decision_pages
import broch_api.packages.pages
import broch_api.packages.project_pages
import broch_api.packages.routes
import broch_api.people.pages
import broch_api.people.routes
import broch_api.projects.pages
import broch_api.projects.routes
import broch_api.revocations.routes
import broch_api.signin.assembly
from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.ingest import FolderIngest
from broch_api.datasets.verify import VersionVerifier
from broch_api.datasets.versions import PROTECT, VersionVault
from broch_api.freeze.service import FreezeDesk
from broch_api.home.service import HomeCards, HomeDesk
from broch_api.packages.entries import LOOK_UP
from broch_api.packages.locks import LockDesk
from broch_api.packages.lookups import PackageLookups
from broch_api.packages.registry import PackageRegistry
from broch_api.packages.resources import ResourceDesk
from broch_api.packages.route_lists import PackageListRegister
from broch_api.packages.service import PackageDesk
from broch_api.packages.uses import PackageUses
from broch_api.people.service import PeopleRegister
from broch_api.people.sign_out import SignOuts
from broch_api.projects.members import MemberRegister
from broch_api.projects.service import ProjectRegister
from broch_api.revocations.service import RevocationDesk
from broch_api.signin.oidc.settings import OidcSettings
from broch_core.actions import Action
from broch_core.outbox.worker import Handler
from broch_core.rules import decide
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.pages import NavItem
from broch_core.web.routing import Router
from broch_core.web.sessions import Sessions


def make_services(
    store: Store,
    settings: Settings,
    sessions: Sessions,
    *,
    home_cards: Sequence[HomeCards] = (),
) -> dict[type, Any]:
    """Make the services of this half.

    Args:
        store: the database.
        settings: of this installation; versions lie in `datasets` below its folder.
        sessions: of the shell.
        home_cards: what other parts of Broch add to the first page.
    """
    folders = VersionFolders(settings.folder / "datasets")
    vault = VersionVault(store, folders, largest_file=settings.dataset_file_bytes)
    registry = PackageRegistry(settings.packages_url, settings.tls)
    services = (
        HomeDesk(store, home_cards),
        PeopleRegister(store),
        SignOuts(store),
        ProjectRegister(store),
        MemberRegister(store),
        FreezeDesk(store),
        RevocationDesk(store, on_cluster=settings.on_cluster),
        folders,
        vault,
        DatasetCatalogue(store, folders),
        FolderIngest(vault, folders, largest_file=settings.dataset_file_bytes),
        VersionVerifier(store, folders),
        GrantDesk(store),
        ExportDesk(store),
        registry,
        PackageDesk(store, registry, settings.package_licences),
        LockDesk(store, registry),
        PackageLookups(store, registry, settings.package_licences),
        ResourceDesk(store),
        PackageListRegister(store, settings.package_bytes_a_day),
        PackageUses(store, settings.package_bytes_a_day),
    )
    signing_in = broch_api.signin.assembly.make_services(
        store, sessions, demo=settings.demo, oidc=OidcSettings.load(settings)
    )
    return {Settings: settings, **{type(service): service for service in services}, **signing_in}


def routers() -> list[Router]:
    """Return the routes of this half."""
    return [
        *broch_api.signin.assembly.routers(),
        broch_api.people.routes.router,
        broch_api.projects.routes.router,
        broch_api.revocations.routes.router,
        broch_api.freeze.routes.router,
        broch_api.freeze.routes.pages,
        broch_api.datasets.routes.router,
        broch_api.datasets.routes.versions_router,
        broch_api.datasets.grant_routes.router,
        broch_api.packages.routes.router,
        broch_api.packages.routes.projects_router,
        broch_api.packages.routes.resources_router,
        broch_api.home.pages.router,
        broch_api.people.pages.router,
        broch_api.projects.pages.router,
        broch_api.datasets.pages.router,
        broch_api.datasets.grant_pages.router,
        broch_api.packages.pages.router,
        broch_api.packages.decision_pages.router,
        broch_api.packages.project_pages.router,
    ]


def nav() -> list[NavItem]:
    """Return the entries of the navigation, in order."""
    return [
        NavItem("Start", "/", "h"),
        NavItem("Projects", "/projects", "p"),
        NavItem("Datasets", "/datasets", "d"),
        NavItem("Packages", "/packages", "k", shown=lambda actor: decide(actor, Action.PERSON_LIST).allowed),
        NavItem("People", "/people", "e", shown=lambda actor: decide(actor, Action.PERSON_LIST).allowed),
    ]


def outbox_handlers(services: Mapping[type, Any]) -> dict[str, Handler]:
    """Return the side effects that this half carries out."""
    vault: VersionVault = services[VersionVault]
    lookups: PackageLookups = services[PackageLookups]
    return {PROTECT: vault.protect, LOOK_UP: lookups.step}


def periodic(services: Mapping[type, Any]) -> list[Callable[[], int]]:
    """Return what must be looked at now and then."""
    lookups: PackageLookups = services[PackageLookups]
    return [lookups.catch_up]
