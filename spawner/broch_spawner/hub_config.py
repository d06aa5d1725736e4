"""JupyterHub's configuration, loaded by `serve.main` (JupyterHub calls `get_config`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from broch_spawner.login import ControlPlaneAuthenticator
from broch_spawner.proxy import InProcessProxy
from broch_spawner.sandbox_spawner import SandboxSpawner
from broch_spawner.settings import ClusterHubSettings, HubSettings, load_settings

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


def _configure_login(c: Any, settings: HubSettings | ClusterHubSettings) -> None:
    c.JupyterHub.authenticator_class = ControlPlaneAuthenticator
    login = c.ControlPlaneAuthenticator
    login.control = settings.control
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


def _configure_proxy(c: Any, settings: HubSettings | ClusterHubSettings) -> None:
    c.JupyterHub.proxy_class = InProcessProxy
    proxy = c.InProcessProxy
    proxy.shell_origin = settings.shell_origin
    proxy.hub_origin = settings.hub_origin
    proxy.control = settings.control
    proxy.control_token = settings.secret("hub")
    proxy.shown_file = str(settings.hub_dir / "shown.json")
    if isinstance(settings, ClusterHubSettings):
        proxy.ip, proxy.port, proxy.tls = "0.0.0.0", settings.proxy_port, str(settings.tls)  # noqa: S104 - policies say who
    else:
        proxy.port = settings.hub_port


def _configure_spawner(c: Any, settings: HubSettings | ClusterHubSettings) -> None:
    common = c.PlannedSpawner
    common.control = settings.control
    common.control_token = settings.secret("hub")
    common.default_url = "/lab"
    common.poll_interval = 5
    common.http_timeout = 60
    if isinstance(settings, ClusterHubSettings):
        from broch_spawner.project_spawner import ProjectSpawner  # noqa: PLC0415 - half a second that only pods need

        c.JupyterHub.spawner_class = ProjectSpawner
        spawner = c.ProjectSpawner
        spawner.pods = settings.pods
        spawner.workspace_api_url = settings.workspace_api_url
        spawner.start_seconds = settings.start_seconds
        spawner.node_seconds = settings.node_seconds
        # Its own clocks come first, with words: JupyterHub's only says that it was long.
        spawner.start_timeout = settings.start_seconds + settings.node_seconds + 60
        spawner.queue_seconds = settings.node_seconds
        if settings.pods.gpu_queue:
            # As long as a workspace could run at all: after that its plan's time is over.
            spawner.queue_seconds = settings.pods.longest_seconds
            spawner.start_timeout += settings.pods.longest_seconds
            # Starts that wait in the queue count too, and must not keep those away that need no GPU.
            c.JupyterHub.concurrent_spawn_limit = 0
        return
    c.JupyterHub.spawner_class = SandboxSpawner
    spawner = c.SandboxSpawner
    spawner.state_dir = os.path.realpath(settings.state_dir)
    spawner.run_dir = str(settings.run_dir)
    spawner.start_timeout = 60


def configure(c: Any, settings: HubSettings | ClusterHubSettings) -> None:
    """Set everything that is not JupyterHub's default."""
    hub_dir, run = settings.hub_dir, settings.run_dir
    on_cluster = isinstance(settings, ClusterHubSettings)
    for folder in (hub_dir, run / "hub", *(() if on_cluster else (run / "ws", run / "door"))):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    hub = c.JupyterHub
    hub.hub_bind_url = hub.hub_connect_url = "http+unix://" + quote(str(settings.hub_socket), safe="")
    hub.subdomain_host = settings.hub_origin
    hub.db_url = f"sqlite:///{hub_dir / 'jupyterhub.sqlite'}"
    hub.cookie_secret_file = str(hub_dir / "cookie_secret")
    if isinstance(settings, ClusterHubSettings):
        # Where JupyterHub believes its proxy to be; the proxy knows itself where it listens.
        hub.bind_url = f"{settings.hub_origin}/"
        hub.db_url = settings.db_url or hub.db_url
        hub.cookie_secret_file = str(settings.cookie_secret_file or hub.cookie_secret_file)
    else:
        hub.bind_url = f"http://127.0.0.1:{settings.hub_port}/"
    # `__Host-` cookies need Secure; browsers accept that from *.localhost without TLS.
    hub.cookie_host_prefix_enabled = True
    hub.tornado_settings = {"cookie_options": {"secure": True}, "slow_spawn_timeout": 2}
    hub.cookie_max_age_days = 1
    hub.oauth_token_expires_in = _DAY
    hub.allow_named_servers = False
    hub.shutdown_on_logout = True
    hub.redirect_to_server = False
    # How often ways to workspaces are looked after, such as those of which a new hub learns late. The table is in this
    # process, so looking costs nothing.
    hub.last_activity_interval = 10
    # Sandboxes are processes of the hub's and end with it; pods go on, and the next hub finds them.
    hub.cleanup_servers = not on_cluster
    hub.services = [{"name": "web", "api_token": settings.secret("web")}]
    hub.load_roles = roles()
    hub.log_level = "INFO"
    _configure_proxy(c, settings)
    _configure_login(c, settings)
    _configure_spawner(c, settings)


if "get_config" in globals():
    configure(globals()["get_config"](), load_settings(Path(os.environ[SETTINGS_VARIABLE])))
