"""Putting together the half of the control plane that governs: sign-in, people, projects, data, the first page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import broch_api.datasets.grant_pages
import broch_api.datasets.grant_routes
import broch_api.datasets.pages
import broch_api.datasets.routes
import broch_api.home.pages
import broch_api.people.pages
import broch_api.people.routes
import broch_api.projects.pages
import broch_api.projects.routes
import broch_api.signin.pages
import broch_api.signin.routes
from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.ingest import FolderIngest
from broch_api.datasets.verify import VersionVerifier
from broch_api.datasets.versions import PROTECT, VersionVault
from broch_api.home.service import HomeCards, HomeDesk
from broch_api.people.service import PeopleRegister
from broch_api.projects.members import MemberRegister
from broch_api.projects.service import ProjectRegister
from broch_api.signin.service import DemoSignIn
from broch_core.actions import Action
from broch_core.outbox.worker import Handler
from broch_core.rules import decide
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.pages import NavItem
from broch_core.web.routing import Router
from broch_core.web.sessions import Sessions


def make_services(
    store: Store, settings: Settings, sessions: Sessions, *, home_cards: Sequence[HomeCards] = ()
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
    services = (
        DemoSignIn(store, sessions, enabled=settings.demo),
        HomeDesk(store, home_cards),
        PeopleRegister(store),
        ProjectRegister(store),
        MemberRegister(store),
        folders,
        vault,
        DatasetCatalogue(store, folders),
        FolderIngest(vault, folders, largest_file=settings.dataset_file_bytes),
        VersionVerifier(store, folders),
        GrantDesk(store),
        ExportDesk(store),
    )
    return {Settings: settings, **{type(service): service for service in services}}


def routers() -> list[Router]:
    """Return the routes of this half."""
    return [
        broch_api.signin.routes.router,
        broch_api.people.routes.router,
        broch_api.projects.routes.router,
        broch_api.datasets.routes.router,
        broch_api.datasets.routes.versions_router,
        broch_api.datasets.grant_routes.router,
        broch_api.signin.pages.router,
        broch_api.home.pages.router,
        broch_api.people.pages.router,
        broch_api.projects.pages.router,
        broch_api.datasets.pages.router,
        broch_api.datasets.grant_pages.router,
    ]


def nav() -> list[NavItem]:
    """Return the entries of the navigation, in order."""
    return [
        NavItem("Start", "/", "h"),
        NavItem("Projects", "/projects", "p"),
        NavItem("Datasets", "/datasets", "d"),
        NavItem("People", "/people", "e", shown=lambda actor: decide(actor, Action.PERSON_LIST).allowed),
    ]


def outbox_handlers(services: Mapping[type, Any]) -> dict[str, Handler]:
    """Return the side effects that this half carries out."""
    vault: VersionVault = services[VersionVault]
    return {PROTECT: vault.protect}
