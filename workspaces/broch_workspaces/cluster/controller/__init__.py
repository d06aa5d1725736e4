"""The controller: makes zones on Kubernetes as the control plane says (`broch serve controller`)."""

from __future__ import annotations

from broch_workspaces.cluster.controller.service import main, serve
from broch_workspaces.cluster.controller.settings import ControllerSettings, read_settings

__all__ = ["ControllerSettings", "main", "read_settings", "serve"]
