"""What the chart makes of values while it runs: who begins anew, who is let in, where pods run, what needs no mirror."""

from __future__ import annotations

import getpass
import json
import subprocess
from pathlib import Path

import pytest

from support.chart import RELEASE, of_kind, pods, render, values
from support.cluster.cluster import Cluster


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> list[dict]:
    return render(cluster.helm, values())


def test_a_collector_reaches_whoever_has_something_to_count(cluster: Cluster, made: list[dict]):
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    network = {**values()["network"], "metrics": [monitoring]}
    packages = {"enabled": True}
    asked = of_kind(render(cluster.helm, values(network=network, packages=packages)), "NetworkPolicy")
    let_in = {
        name.removeprefix(f"{RELEASE}-"): rule["ports"][0]["port"]
        for name, policy in asked.items()
        for rule in policy["spec"].get("ingress") or []
        if rule.get("from") == [monitoring]
    }
    assert let_in == {"web": 8448, "gateway": 8448, "packages": 8448, "controller": 8443}
    listened = {
        f"{RELEASE}-{name}": {
            one["containerPort"] for one in pods(made)[f"{RELEASE}-{name}"]["containers"][0]["ports"]
        }
        for name in ("web", "gateway", "controller")
    }
    assert all(let_in[name.removeprefix(f"{RELEASE}-")] in ports for name, ports in listened.items())


def begun_anew(before: list[dict], after: list[dict]) -> set[str]:
    """Return the components whose pods an upgrade begins anew."""
    templates = [
        {name: one["spec"]["template"] for name, one in of_kind(made, "Deployment").items()}
        for made in (before, after)
    ]
    return {
        name.removeprefix(f"{RELEASE}-") for name in templates[0] if templates[0][name] != templates[1][name]
    }


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"web": {"settings": {"WORKSPACE_IDLE": "PT30M"}}}, {"web"}),
        ({"hub": {"startSeconds": 400}}, {"hub"}),
        ({"clamav": {"freshclam": {"checksPerDay": 6}}}, {"clamd"}),
        ({"tokens": {"existingSecret": "broch-tokens", "revision": 2}}, {"web", "hub", "gateway"}),
        ({"database": {"existingSecret": "broch-database", "revision": 2}}, {"web"}),
    ],
    ids=["web", "hub", "clamd", "tokens", "database"],
)
def test_a_change_begins_anew_whom_it_concerns_and_nobody_else(
    cluster: Cluster, made: list[dict], changes: dict, anew: set[str]
):
    assert begun_anew(made, render(cluster.helm, values(**changes))) == anew


def test_settings_of_web_reach_it_as_they_were_meant(cluster: Cluster):
    settings = {"WORKSPACE_IDLE": 0, "AIRLOCK_FILE_BYTES": 1 << 30, "INGRESS_WITHOUT_REVIEW": False}
    made = render(cluster.helm, values(web={"settings": settings}), only=("settings",))
    told = of_kind(made, "ConfigMap")[f"{RELEASE}-web"]["data"]
    assert {name: told[f"BROCH_{name}"] for name in settings} == {
        "WORKSPACE_IDLE": "0",
        "AIRLOCK_FILE_BYTES": "1073741824",
        "INGRESS_WITHOUT_REVIEW": "false",
    }


def test_everything_runs_where_it_is_told_to_migrations_and_importers_too(cluster: Cluster):
    place = {"kubernetes.io/arch": "amd64"}
    tolerations = [{"key": "tre", "operator": "Exists"}]
    zones = {**values()["zones"], "nodeSelector": {"pool": "zones"}}
    made = render(cluster.helm, values(nodeSelector=place, tolerations=tolerations, zones=zones))
    for name, pod in pods(made).items():
        assert (pod["nodeSelector"], pod["tolerations"]) == (place, tolerations), name
    maps = of_kind(made, "ConfigMap")
    for name, file in (("hub", "hub.json"), ("controller", "controller.json")):
        told = json.loads(maps[f"{RELEASE}-{name}"]["data"][file])
        assert told["pods"]["node_selector"] == {"pool": "zones"}


def test_names_are_looked_up_at_a_cache_of_the_node_where_there_is_one(cluster: Cluster, made: list[dict]):
    dns = {"cidrs": ["169.254.20.10/32"]}
    asked = render(cluster.helm, values(network={**values()["network"], "dns": dns}))
    block = {"ipBlock": {"cidr": "169.254.20.10/32"}}
    assert "169.254.20.10" not in json.dumps(made)
    for name, policy in of_kind(asked, "NetworkPolicy").items():
        rules = policy["spec"].get("egress") or []
        if any("kube-dns" in json.dumps(rule) for rule in rules):
            [rule] = [rule for rule in rules if rule.get("to") == [block]]
            assert {(one["port"], one["protocol"]) for one in rule["ports"]} == {(53, "UDP"), (53, "TCP")}, (
                name
            )


def test_signatures_of_ones_own_need_no_mirror(cluster: Cluster, made: list[dict]):
    clamav = {"freshclam": {"enabled": False}, "storage": {"enabled": True, "existingClaim": "signatures"}}
    asked = render(cluster.helm, values(clamav=clamav))
    name = f"{RELEASE}-clamd"
    assert {one["name"] for one in pods(made)[name]["initContainers"]} == {"signatures"}
    assert not pods(asked)[name].get("initContainers")
    assert {one["name"] for one in pods(asked)[name]["containers"]} == {"clamd", "relay"}
    assert not of_kind(asked, "NetworkPolicy")[name]["spec"].get("egress")


@pytest.mark.parametrize("there", [True, False])
def test_a_scanner_begins_with_the_signatures_that_are_there_while_no_mirror_answers(
    made: list[dict], tmp_path: Path, there: bool
):
    signatures = tmp_path / "signatures"
    signatures.mkdir()
    if there:
        (signatures / "daily.cld").write_bytes(b"yesterday's")
    configuration = tmp_path / "freshclam.conf"
    configuration.write_text(
        f"DatabaseDirectory {signatures}\nDatabaseOwner {getpass.getuser()}\nPrivateMirror http://127.0.0.1:9\nMaxAttempts 1\n"
    )
    [container] = pods(made)[f"{RELEASE}-clamd"]["initContainers"]
    *words, script = container["command"]
    script = script.replace("/etc/broch/clamd/freshclam.conf", str(configuration))
    script = script.replace("/var/lib/clamav", str(signatures))
    done = subprocess.run([*words, script], capture_output=True, text=True, timeout=120, check=False)
    assert "update process started" in done.stdout, done
    assert (done.returncode == 0) is there, done
