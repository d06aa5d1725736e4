"""The app on `run/control.sock`, or on a port of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from broch_api.internal.routes import oauth, router
from broch_api.packages.internal_routes import router as packages
from broch_api.zones.routes import router as zones
from broch_core.settings import Settings
from broch_core.web.app import make_app


def make_internal_app(services: Mapping[type, Any]) -> FastAPI:
    """Make the internal API.

    Args:
        services: those of the control plane (`assembly_runtime.make_services`) with `Settings` among them.
    """
    settings: Settings = services[Settings]
    return make_app(
        "Broch internal API",
        "For the hub, and on a cluster controller and package route: on a unix socket, or by certificates.",
        [router, oauth, zones, packages],
        services=services,
        shell_origin=settings.shell_origin,
        docs_prefix="/internal/v1",
    )
