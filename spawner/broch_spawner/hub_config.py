"""JupyterHub's configuration, loaded by `serve.main` (JupyterHub calls `get_config`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from broch_spawner.login import ControlPlaneAuthenticator
from broch_spawner.proxy import InProcessProxy
from broch_spawner.sandbox_spawner import SandboxSpawner
from broch_spawner.settings import HubSettings

SETTINGS_VARIABLE = "BROCH_HUB_SETTINGS"
"""Environment variable with the path of the settings file."""

_DAY = 86400


def roles() -> list[dict[str, Any]]:
    """Return who may do what at the hub: people only enter their own workspace, `web` starts and stops."""
    return [
        {
            "name": "user",
            "description": "Enter the own workspace, and let its server report activity",
            "scopes": [
                "access:servers!user",
                "users:activity!user",
                "read:users:name!user",
                "read:users:groups!user",
            ],
        },
        {
            "name": "web",
            "description": "The control plane: make users, start, stop and read servers",
            "scopes": ["admin:users", "servers", "list:users"],
            "services": ["web"],
        },
    ]


def _configure_login(c: Any, settings: HubSettings) -> None:
    c.JupyterHub.authenticator_class = ControlPlaneAuthenticator
    login = c.ControlPlaneAuthenticator
    login.control_socket = str(settings.run_dir / "control.sock")
    login.client_id = "hub"
    login.client_secret = settings.secret("hub-oauth")
    login.authorize_url = f"{settings.shell_origin}/oauth/authorize"
    login.token_url = f"{settings.shell_origin}/oauth/token"
    login.userdata_url = f"{settings.shell_origin}/oauth/userinfo"
    login.oauth_callback_url = f"{settings.hub_origin}/hub/oauth_callback"
    login.logout_redirect_url = settings.shell_origin
    login.username_claim = "sub"
    login.scope = ["workspace"]
    login.basic_auth = True
    login.enable_pkce = True
    login.auto_login = True
    # The control plane makes the hub's user before it starts a workspace; nobody else exists here.
    login.allow_all = False
    login.allow_existing_users = True
    login.custom_403_message = "There is no workspace for you here. Open one from your project's page."


def configure(c: Any, settings: HubSettings) -> None:
    """Set everything that is not JupyterHub's default."""
    hub_dir, run = settings.state_dir / "hub", settings.run_dir
    for folder in (hub_dir, run / "hub", run / "ws", run / "door"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = "http+unix://" + quote(str(run / "hub" / "hub.sock"), safe="")

    hub = c.JupyterHub
    hub.bind_url = f"http://127.0.0.1:{settings.hub_port}/"
    hub.hub_bind_url = hub.hub_connect_url = socket
    hub.subdomain_host = settings.hub_origin
    hub.db_url = f"sqlite:///{hub_dir / 'jupyterhub.sqlite'}"
    hub.cookie_secret_file = str(hub_dir / "cookie_secret")
    # `__Host-` cookies need Secure; browsers accept that from *.localhost without TLS.
    hub.cookie_host_prefix_enabled = True
    hub.tornado_settings = {"cookie_options": {"secure": True}, "slow_spawn_timeout": 2}
    hub.cookie_max_age_days = 1
    hub.oauth_token_expires_in = _DAY
    hub.allow_named_servers = False
    hub.shutdown_on_logout = True
    hub.redirect_to_server = False
    hub.cleanup_servers = True
    hub.services = [{"name": "web", "api_token": settings.secret("web")}]
    hub.load_roles = roles()
    hub.log_level = "INFO"

    hub.proxy_class = InProcessProxy
    c.InProcessProxy.port = settings.hub_port
    c.InProcessProxy.shell_origin = settings.shell_origin
    c.InProcessProxy.hub_origin = settings.hub_origin
    c.InProcessProxy.control_socket = str(run / "control.sock")
    c.InProcessProxy.control_token = settings.secret("hub")
    c.InProcessProxy.shown_file = str(hub_dir / "shown.json")

    _configure_login(c, settings)
    hub.spawner_class = SandboxSpawner
    spawner = c.SandboxSpawner
    spawner.state_dir = os.path.realpath(settings.state_dir)
    spawner.run_dir = str(run)
    spawner.control_token = settings.secret("hub")
    spawner.default_url = "/lab"
    spawner.poll_interval = 5
    spawner.start_timeout = 60
    spawner.http_timeout = 60


if "get_config" in globals():
    configure(globals()["get_config"](), HubSettings.load(Path(os.environ[SETTINGS_VARIABLE])))
