"""A stock JupyterHub with a stock KubeSpawner, as its documents set it up, for `bench_spawn.py` to measure beside ours."""

import json
import os

from traitlets.config import Config

c: Config = get_config()  # type: ignore[name-defined]  # noqa: F821 - JupyterHub gives it
given = json.loads(os.environ["BENCH_STOCK"])

c.JupyterHub.bind_url = f"http://{given['address']}:{given['proxy_port']}"
c.JupyterHub.hub_bind_url = f"http://{given['address']}:{given['hub_port']}"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret = os.urandom(32)
c.JupyterHub.authenticator_class = "null"
# Not what is measured, and not installed here: routes are made by ours.
c.JupyterHub.proxy_class = "broch_spawner.proxy.InProcessProxy"
c.InProcessProxy.ip = "127.0.0.1"
c.InProcessProxy.port = given["proxy_port"]
c.InProcessProxy.shell_origin = c.InProcessProxy.hub_origin = f"http://hub.localhost:{given['proxy_port']}"
c.InProcessProxy.shown_file = given["shown"]
c.JupyterHub.services = [{"name": "web", "api_token": given["token"]}]
c.JupyterHub.load_roles = [{"name": "web", "scopes": ["admin:users", "admin:servers"], "services": ["web"]}]
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = given["namespace"]
c.KubeSpawner.image = given["image"]
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.cmd = given["command"]
c.KubeSpawner.pod_name_template = "stock-{username}"
c.KubeSpawner.port = given["port"]
c.KubeSpawner.cpu_limit = 1.0
c.KubeSpawner.mem_limit = "256M"
# Else it asks for all of its limit, and a small node has no room for five.
c.KubeSpawner.cpu_guarantee = 0.1
c.KubeSpawner.mem_guarantee = "64M"
c.KubeSpawner.uid = 1000
