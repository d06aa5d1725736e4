"""The chart as Helm reads it and the API server takes it: every pod restricted, every refusal in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from broch_airlock.checks.clamd_config import freshclam_conf
from broch_spawner.settings import ClusterHubSettings
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.packages.settings import PackagesSettings
from support.chart import CHART, NAMESPACE, RELEASE, alerts, of_kind, pods, render, values
from support.cluster.cluster import Cluster, Refused
from support.zones import SOURCES

COMPONENTS = {"web", "hub", "controller", "gateway", "sandboxes", "clamd"}


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> list[dict]:
    return render(cluster.helm, values())


def tokens(made: list[dict]) -> dict[str, set[str]]:
    """Return the service tokens of each component."""
    return {
        name.removeprefix(f"{RELEASE}-"): {item["key"] for item in volume["secret"]["items"]}
        for name, pod in pods(made).items()
        for volume in pod["volumes"]
        if volume["name"] == "tokens"
    }


def profile(name: str) -> dict:
    return yaml.safe_load((CHART / name).read_text())


def test_helm_finds_nothing_wrong(cluster: Cluster, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values()))
    assert "0 chart(s) failed" in cluster.helm("lint", str(CHART), "--strict", "--values", str(file))


@pytest.mark.parametrize("name", ["", "values-dev.yaml", "values-production.yaml"])
def test_the_api_server_takes_every_object(cluster: Cluster, name: str):
    words = ("--values", str(CHART / name)) if name else ()
    chosen = values()
    if name == "values-dev.yaml":
        chosen |= {
            "tokens": {"existingSecret": "", "generate": True},
            "oidc": {**chosen["oidc"], "secret": "s"},
        }
    made = render(cluster.helm, chosen, *words)
    # Certificates are of a kind that this cluster does not have.
    kept = [one for one in made if one["apiVersion"] != "cert-manager.io/v1"]
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    with cluster.namespace(name=NAMESPACE, labels=restricted), cluster.namespace(name=f"{RELEASE}-sandboxes"):
        listing = {"apiVersion": "v1", "kind": "List", "items": kept}
        words = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "--warnings-as-errors")
        told = cluster.kubectl(*words, "--filename=-", stdin=json.dumps(listing))
    assert told.count("serverside-applied") == len(kept)


def test_every_pod_is_an_ordinary_user_with_a_read_only_root(made: list[dict]):
    assert {name.removeprefix(f"{RELEASE}-") for name in pods(made)} == {*COMPONENTS, "migrate"}
    for name, pod in pods(made).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            }, name
            assert "@sha256:" in container["image"]
            assert container["resources"]["limits"]["memory"]
        for volume in pod["volumes"]:
            assert "hostPath" not in volume
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], name


def test_only_those_who_speak_to_the_api_server_have_a_token(made: list[dict]):
    with_token = {name for name, pod in pods(made).items() if pod["automountServiceAccountToken"]}
    assert with_token == {f"{RELEASE}-{name}" for name in ("hub", "controller", "gateway", "sandboxes")}


def test_a_component_has_the_service_tokens_that_it_needs_and_no_others(made: list[dict]):
    held = tokens(made)
    assert held.pop("web") >= {"oidc", "web-secret"}
    assert held == {
        "hub": {"hub", "hub-oauth", "web"},
        "controller": {"controller"},
        "gateway": {"gateway"},
        "sandboxes": {"sandboxes"},
    }


def test_the_package_route_alone_leads_outside_and_is_there_when_it_is_asked_for(
    cluster: Cluster, made: list[dict]
):
    assert not [one for one in made if one["metadata"]["name"] == f"{RELEASE}-packages"]
    asked = render(cluster.helm, values(packages={"enabled": True, "registries": {"npm": ""}}))
    name = f"{RELEASE}-packages"
    pod = pods(asked)[name]
    assert pod["automountServiceAccountToken"] is False
    told = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in told.items():
            patch.setenv(key, value)
        settings = PackagesSettings()
    assert (settings.npm, settings.pypi) == (None, "https://pypi.org")
    assert (settings.gateway_name, settings.web_name) == (f"{RELEASE}-gateway", f"{RELEASE}-web")
    policies = of_kind(asked, "NetworkPolicy")
    anywhere = {other for other, policy in policies.items() if "0.0.0.0/0" in json.dumps(policy["spec"])}
    assert anywhere - {f"{RELEASE}-clamd"} == {name}
    callers = json.dumps(policies[name]["spec"]["ingress"])
    assert [word for word in COMPONENTS if f'"{word}"' in callers] == [
        word for word in COMPONENTS if word in {"web", "gateway"}
    ]
    maps = of_kind(asked, "ConfigMap")
    assert json.loads(maps[f"{RELEASE}-hub"]["data"]["hub.json"])["pods"]["packages"] is True
    # Web asks it what registries say, and knows it by its token; without one neither is there.
    assert maps[f"{RELEASE}-web"]["data"]["BROCH_PACKAGES_URL"] == f"https://{name}:8449"
    assert tokens(asked)["packages"] == {"packages"}
    assert "packages" in tokens(asked)["web"] - tokens(made)["web"]
    assert "BROCH_PACKAGES_URL" not in of_kind(made, "ConfigMap")[f"{RELEASE}-web"]["data"]


@pytest.mark.parametrize("kind", ["required", "preferred"])
def test_an_upgrade_wants_no_more_nodes_than_there_are_replicas(cluster: Cluster, kind: str):
    made = render(cluster.helm, values(antiAffinity=kind))
    assert any(one["spec"]["replicas"] > 1 for one in of_kind(made, "Deployment").values())
    for name, one in of_kind(made, "Deployment").items():
        terms = one["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        (term,) = terms[f"{kind}DuringSchedulingIgnoredDuringExecution"]
        # Else pods of the revision before keep the new ones off every node, and go only when those are ready.
        assert term.get("podAffinityTerm", term)["matchLabelKeys"] == ["pod-template-hash"], name


def test_the_schemas_owner_is_known_to_migrations_alone(made: list[dict]):
    for name, pod in pods(made).items():
        knows = "owner-url" in json.dumps(pod)
        assert knows is (name == f"{RELEASE}-migrate")


def test_every_component_is_denied_everything_but_its_own_arrows(made: list[dict]):
    policies = of_kind(made, "NetworkPolicy")
    everyone = {"app.kubernetes.io/name": "broch", "app.kubernetes.io/instance": RELEASE}
    assert policies[f"{RELEASE}-deny"]["spec"]["podSelector"] == {"matchLabels": everyone}
    for name, pod in of_kind(made, "Deployment").items():
        labels = pod["spec"]["template"]["metadata"]["labels"]
        assert everyone.items() <= labels.items()
        assert policies[name]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    # Zones reach the gateway's one port, and it alone answers them.
    reached = {
        name: [
            rule["ports"]
            for rule in policy["spec"].get("ingress") or []
            if "broch.dev/role" in json.dumps(rule)
        ]
        for name, policy in policies.items()
    }
    assert reached.pop(f"{RELEASE}-gateway") == [[{"port": 8443, "protocol": "TCP"}]]
    assert reached.pop(f"{RELEASE}-sandboxes") == [[{"port": 8447, "protocol": "TCP"}]]
    assert not any(reached.values())


def test_the_migration_of_an_upgrade_reaches_the_database_of_the_new_values(made: list[dict]):
    job = of_kind(made, "Job")[f"{RELEASE}-migrate"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    (policy,) = (
        one
        for one in of_kind(made, "NetworkPolicy").values()
        if one["metadata"]["namespace"] == NAMESPACE
        and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        and one["spec"].get("egress")
    )
    assert "10.0.0.5/32" in json.dumps(policy["spec"]["egress"])
    # Hooks run while the policies are still those of the release before, with its database: this one is there first.
    told, jobs = (one["metadata"].get("annotations", {}) for one in (policy, job))
    assert told.get("helm.sh/hook") == jobs["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert int(told["helm.sh/hook-weight"]) < int(jobs.get("helm.sh/hook-weight", 0))


def test_whoever_makes_zones_and_pods_understands_what_the_chart_writes(made: list[dict]):
    maps = of_kind(made, "ConfigMap")
    hub = json.loads(maps[f"{RELEASE}-hub"]["data"]["hub.json"])
    controller = json.loads(maps[f"{RELEASE}-controller"]["data"]["controller.json"])
    for content in (hub, controller):
        assert content["pods"]["gateway_address"] == f"{RELEASE}-gateway.{NAMESPACE}.svc"
        content["pods"]["gateway_address"] = "10.0.0.9"  # the name is known in the cluster alone
    assert ClusterHubSettings.model_validate(hub).hub_origin == "https://hub.work.example.net"
    controller["zones"]["ca_bundle"] = "PEM"
    assert ControllerSettings.model_validate(controller).lease == f"{RELEASE}-controller"


def test_a_queue_for_gpus_is_there_when_it_is_asked_for_and_both_sides_know_of_it(
    cluster: Cluster, made: list[dict]
):
    assert "kueue" not in json.dumps(made)
    zones = {**values()["zones"], "kueueQueue": "gpus.research"}
    asked = render(cluster.helm, values(zones=zones))
    told = of_kind(asked, "ConfigMap")
    controller = json.loads(told[f"{RELEASE}-controller"]["data"]["controller.json"])
    hub = json.loads(told[f"{RELEASE}-hub"]["data"]["hub.json"])
    assert controller["zones"]["kueue_queue"] == "gpus.research"
    assert hub["pods"]["gpu_queue"] is controller["pods"]["gpu_queue"] is True
    policies = [
        one for one in asked if one["kind"] == "ValidatingAdmissionPolicy" and "kueue" in json.dumps(one)
    ]
    assert {one["metadata"]["name"] for one in policies} == {f"{RELEASE}-zone-pods", f"{RELEASE}-controller"}
    listing = {"apiVersion": "v1", "kind": "List", "items": policies}
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(listing))


def test_packages_without_a_reason_and_bytes_a_day_are_webs_to_know(cluster: Cluster):
    asked = render(
        cluster.helm, values(packages={"licences": ["MIT", "ISC"], "bytesADay": 1 << 30}), only=("settings",)
    )
    told = of_kind(asked, "ConfigMap")[f"{RELEASE}-web"]["data"]
    assert json.loads(told["BROCH_PACKAGE_LICENCES"]) == ["MIT", "ISC"]
    assert told["BROCH_PACKAGE_BYTES_A_DAY"] == str(1 << 30)


def test_whoever_collects_metrics_gets_the_alerts_when_they_are_asked_for(cluster: Cluster, made: list[dict]):
    assert not [one for one in made if one["kind"] == "PrometheusRule"]
    chosen = values(alerts={"enabled": True, "labels": {"release": "prometheus"}})
    [rule] = render(cluster.helm, chosen, only=("alerts",))
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"]["groups"][0]["rules"] == alerts()


def test_freshclam_is_told_what_was_tried(made: list[dict]):
    text = of_kind(made, "ConfigMap")[f"{RELEASE}-clamd"]["data"]["freshclam.conf"]
    tried = freshclam_conf(
        Path("/var/lib/clamav"), mirror="database.clamav.net", clamd=Path("/etc/broch/clamd/clamd.conf")
    )
    assert sorted(text.split("\n")) == sorted(tried.split("\n"))


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_every_kind_of_source_makes_a_policy_that_the_api_server_compiles(cluster: Cluster, kind: str):
    chosen = values(datasets={"source": SOURCES[kind]})
    made = render(cluster.helm, chosen, only=("admission-controller",))
    listing = {"apiVersion": "v1", "kind": "List", "items": made}
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(listing))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"network": {**values()["network"], "ipFamilies": ["IPv4", "IPv6"]}},
            "dual-stack and IPv6 are refused",
        ),
        ({"url": ""}, "url: the origin of the pages, such as https://tre.example.org"),
        ({"tokens": {}}, "tokens.existingSecret: name the Secret"),
        ({"viewerUrl": "https://tre.example.org"}, "rendered files need a host of their own"),
        ({"public": {"ingress": {"enabled": True}}}, "there is no entrance without TLS"),
        ({"tls": {"certManager": {"enabled": True}}}, "name the issuer of an authority of your own"),
        ({"images": {**values()["images"], "prefixes": ["other.example.org/"]}}, "begins with none of them"),
        ({"viewerUrl": "https://hub.work.example.net:8443"}, "it must not be that of hubUrl"),
        ({"url": "https://tre.example.org:443"}, "url: leave out ':443'"),
        (
            {"zones": {"profiles": values()["zones"]["profiles"] * 2}},
            "zones.profiles: two have one name (standard, standard)",
        ),
        ({"web": {"settings": {"WORKSPACE_IDEL": 0}}}, "WORKSPACE_IDEL"),
        ({"nonsense": 1}, "additional properties 'nonsense' not allowed"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_the_reason(cluster: Cluster, changes: dict, words: str):
    assert render(cluster.helm, values())
    with pytest.raises(Refused) as problem:
        render(cluster.helm, values(**changes))
    assert words in str(problem.value)


def test_cert_manager_is_asked_for_every_name_that_is_used(cluster: Cluster):
    tls = {"certManager": {"enabled": True, "issuer": {"name": "authority", "kind": "ClusterIssuer"}}}
    asked = of_kind(render(cluster.helm, values(tls=tls), only=("certificates",)), "Certificate")
    assert set(asked) == {f"{RELEASE}-{name}" for name in COMPONENTS}
    assert "gateway.broch.internal" in asked[f"{RELEASE}-gateway"]["spec"]["dnsNames"]
    assert {"tre.example.org", "viewer.work.example.net"} <= set(asked[f"{RELEASE}-web"]["spec"]["dnsNames"])
    assert "*.hub.work.example.net" in asked[f"{RELEASE}-hub"]["spec"]["dnsNames"]


def test_browsers_come_in_by_an_ingress_or_a_gateway_where_there_is_one(cluster: Cluster):
    public = {
        "ingress": {"enabled": True, "webSecret": "web", "hubSecret": "hub"},
        "gateway": {"enabled": True, "parentRefs": [{"name": "edge"}], "caConfigMap": "authority"},
        "web": {"type": "LoadBalancer"},
    }
    made = render(cluster.helm, values(public=public), only=("public",))
    assert of_kind(made, "Service")[f"{RELEASE}-web-public"]["spec"]["type"] == "LoadBalancer"
    hosts = [rule["host"] for one in of_kind(made, "Ingress").values() for rule in one["spec"]["rules"]]
    routed = [host for one in of_kind(made, "HTTPRoute").values() for host in one["spec"]["hostnames"]]
    expected = {
        "tre.example.org",
        "viewer.work.example.net",
        "hub.work.example.net",
        "*.hub.work.example.net",
    }
    assert set(hosts) == set(routed) == expected
