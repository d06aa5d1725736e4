"""The app on `run/control.sock`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from broch_api.internal.routes import oauth, router
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
        "For the hub alone, on a unix socket.",
        [router, oauth],
        services=services,
        shell_origin=settings.shell_origin,
        docs_prefix="/internal/v1",
    )
