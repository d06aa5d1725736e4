"""What the hub is told: by a supervisor on one machine, by a chart on a cluster, and never half of either."""

import json

import pytest
from pydantic import ValidationError
from traitlets.config import Config

from broch_spawner.hub_config import configure
from broch_spawner.settings import ClusterHubSettings, HubSettings, load_settings

PODS = {
    "gateway_address": "10.0.0.1",
    "image_prefixes": ["registry.example.org/broch/"],
    "importer_image": "registry.example.org/broch/broch@sha256:" + "a" * 64,
}
CLUSTER = {
    "mode": "cluster",
    "shell_origin": "https://tre.example.org",
    "hub_origin": "https://hub.tre.example.org",
    "pods": PODS,
}


def write(folder, **more):
    told = {"state_dir": str(folder / "s"), "run_dir": str(folder / "r")} | more
    path = folder / "hub.json"
    path.write_text(json.dumps(told))
    return path


def on_cluster(folder, **more):
    (folder / "secrets").mkdir(exist_ok=True)
    for name in ("hub", "web", "hub-oauth"):
        (folder / "secrets" / name).write_text(f"token-{name}\n")
    return write(folder, **CLUSTER | {"secrets": str(folder / "secrets")} | more)


def test_either_kind_is_read(tmp_path):
    assert isinstance(load_settings(write(tmp_path, port=8000)), HubSettings)
    settings = load_settings(on_cluster(tmp_path))
    assert isinstance(settings, ClusterHubSettings)
    assert settings.workspace_api_url == "https://gateway.broch.internal:8443/hub/api"
    assert settings.secret("hub") == "token-hub"


@pytest.mark.parametrize(
    "change",
    [
        {"hub_origin": "http://hub.tre.example.org"},
        {"shell_origin": "https://tre.example.org/path"},
        {"control_url": "http://broch-web:8444"},
        {"pods": {}},
        {"mode": "embedded"},
        {"unknown": 1},
        {"run_dir": "/" + "x" * 100},
        {"proxy_port": 443},
    ],
)
def test_half_or_clear_settings_are_refused(tmp_path, change):
    with pytest.raises(ValidationError):
        load_settings(on_cluster(tmp_path, **change))


def test_a_start_may_last_as_long_as_what_it_may_wait_for(tmp_path):
    plain, queued = Config(), Config()
    configure(plain, load_settings(on_cluster(tmp_path)))
    configure(
        queued, load_settings(on_cluster(tmp_path, pods=PODS | {"gpu_queue": True, "longest_seconds": 7200}))
    )
    before, now = plain.ProjectSpawner, queued.ProjectSpawner
    assert before.start_timeout > before.start_seconds + before.node_seconds
    assert now.queue_seconds == 7200
    assert now.start_timeout > now.queue_seconds + now.node_seconds + now.start_seconds
    assert queued.JupyterHub.concurrent_spawn_limit == 0
    assert "concurrent_spawn_limit" not in plain.JupyterHub


def test_an_empty_token_is_refused(tmp_path):
    settings = load_settings(on_cluster(tmp_path))
    (tmp_path / "secrets" / "web").write_text("\n")
    with pytest.raises(ValueError, match="web is empty"):
        settings.secret("web")


def test_pods_outlive_the_hub_and_sandboxes_do_not(tmp_path):
    cluster, machine = Config(), Config()
    configure(cluster, load_settings(on_cluster(tmp_path)))
    assert cluster.JupyterHub.cleanup_servers is False
    assert cluster.JupyterHub.spawner_class.__name__ == "ProjectSpawner"
    assert cluster.InProcessProxy.tls == "/etc/broch/tls"
    (tmp_path / "r" / "secrets").mkdir()
    for name in ("hub", "web", "hub-oauth"):
        (tmp_path / "r" / "secrets" / name).write_text("x")
    configure(machine, load_settings(write(tmp_path, port=8000)))
    assert machine.JupyterHub.cleanup_servers is True
    assert machine.JupyterHub.spawner_class.__name__ == "SandboxSpawner"
    assert "tls" not in machine.InProcessProxy
