"""What makes a zone: the same every time, nothing outside of it, nothing writable that is data."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from broch_workspaces.cluster.manifests import ZoneRefused, data_volume_name, id_mapped, zone_manifests
from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.spec import PROJECT_LABEL, Quota, ZoneState
from support.counts import count
from support.zones import (
    OTHER_VERSION,
    SOURCES,
    ZONE_SETTINGS,
    a_volume,
    a_zone,
    check_golden,
    ulids,
    zones,
)

GOLDEN = Path(__file__).parent / "golden"
TRIES = count("zones made of random specs", ci=300, nightly=5_000)
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
QUEUE_SETTINGS = ZONE_SETTINGS.model_copy(update={"kueue_queue": "gpus"})

ZONES = {
    "open": a_zone(),
    "frozen": a_zone(state=ZoneState.FROZEN),
    "gpus": a_zone(quota=Quota(gpus=2, devices={"nvidia.com/mig-1g.10gb": 4}), data=()),
    "queue": a_zone(quota=Quota(gpus=2), data=(), homes=()),
    **{f"source-{kind}": a_zone(data=(a_volume(source=kind),), homes=()) for kind in SOURCES},
}


def of_kind(manifests, kind):
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


@pytest.mark.parametrize("name", sorted(ZONES))
def test_a_zone_is_what_its_golden_file_says(name, request):
    check_golden(
        GOLDEN / f"{name}.json",
        zone_manifests(ZONES[name], QUEUE_SETTINGS if name == "queue" else ZONE_SETTINGS),
        update=request.config.getoption("--update-golden"),
    )


@settings(max_examples=TRIES, deadline=None)
@given(zone=zones())
def test_nothing_lies_outside_of_the_zone_but_its_namespace_and_its_volumes(zone):
    manifests = zone_manifests(zone, ZONE_SETTINGS)
    for one in manifests:
        if one["kind"] in {"Namespace", "PersistentVolume"}:
            assert "namespace" not in one["metadata"]
        else:
            assert one["metadata"]["namespace"] == zone.namespace
        assert one["metadata"]["labels"][PROJECT_LABEL] == zone.project_id.lower()
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "broch"
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
    named = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(named)) == len(named)


@settings(max_examples=TRIES, deadline=None)
@given(zone=zones())
def test_no_data_volume_is_writable_and_each_is_bound_to_one_claim(zone):
    manifests = zone_manifests(zone, ZONE_SETTINGS)
    claims = of_kind(manifests, "PersistentVolumeClaim")
    volumes = of_kind(manifests, "PersistentVolume")
    assert len(volumes) == len(zone.data)
    for name, volume in volumes.items():
        spec = volume["spec"]
        claim = claims[spec["claimRef"]["name"]]
        assert spec["accessModes"] == claim["spec"]["accessModes"] == ["ReadOnlyMany"]
        assert spec["storageClassName"] == claim["spec"]["storageClassName"] == ""
        assert spec["persistentVolumeReclaimPolicy"] == "Retain"
        assert spec["claimRef"]["namespace"] == zone.namespace
        assert claim["spec"]["volumeName"] == name
        kind = next(kind for kind in ("hostPath", "nfs", "csi") if kind in spec)
        if kind != "hostPath":
            assert spec[kind]["readOnly"] is True
            assert any("ro" in option.split() or "read-only" in option for option in spec["mountOptions"])
            assert "rw" not in spec["mountOptions"]


@settings(max_examples=TRIES, deadline=None)
@given(zone=zones())
def test_the_order_of_lists_changes_nothing(zone):
    turned = zone.model_copy(update={"data": zone.data[::-1], "homes": zone.homes[::-1]})
    assert zone_manifests(turned, ZONE_SETTINGS) == zone_manifests(zone, ZONE_SETTINGS)


def test_kinds_come_in_the_order_of_their_need():
    kinds = list(dict.fromkeys(one["kind"] for one in zone_manifests(a_zone(), ZONE_SETTINGS)))
    assert kinds == [
        "Namespace",
        "ResourceQuota",
        "LimitRange",
        "NetworkPolicy",
        "ServiceAccount",
        "RoleBinding",
        "ConfigMap",
        "PersistentVolume",
        "PersistentVolumeClaim",
    ]


def test_a_queue_comes_last_leads_where_the_setting_says_and_changes_nothing_else():
    without, queue = zone_manifests(a_zone(), ZONE_SETTINGS), zone_manifests(a_zone(), QUEUE_SETTINGS)
    assert queue[:-1] == without
    assert (queue[-1]["kind"], queue[-1]["spec"]) == ("LocalQueue", {"clusterQueue": "gpus"})


@pytest.mark.parametrize("name", ["", "Gpus", "-gpus", "gpus.", "a b", "x" * 254, "a/b"])
def test_a_name_that_no_queue_can_have_is_refused(name):
    assert ZoneSettings(ca_bundle="PEM", kueue_queue="gpus.research").kueue_queue == "gpus.research"
    with pytest.raises(ValidationError):
        ZoneSettings(ca_bundle="PEM", kueue_queue=name)


@given(projects=st.lists(ulids, min_size=2, max_size=2, unique=True), version=ulids)
def test_two_zones_never_share_a_volume(projects, version):
    first, second = (data_volume_name(project, version) for project in projects)
    assert first != second
    assert DNS_LABEL.fullmatch(first)


@pytest.mark.parametrize(("state", "pods"), [("open", "22"), ("frozen", "0"), ("ended", "0")])
def test_only_an_open_zone_may_run_pods(state, pods):
    quotas = of_kind(zone_manifests(a_zone(state=ZoneState(state)), ZONE_SETTINGS), "ResourceQuota")
    assert quotas["zone"]["spec"]["hard"]["pods"] == pods


def test_a_zone_has_no_devices_and_no_ways_in_that_nobody_granted():
    hard = of_kind(zone_manifests(a_zone(), ZONE_SETTINGS), "ResourceQuota")["zone"]["spec"]["hard"]
    for name in (
        "requests.nvidia.com/gpu",
        "requests.amd.com/gpu",
        "services.loadbalancers",
        "services.nodeports",
    ):
        assert hard[name] == "0"
    granted = zone_manifests(a_zone(quota=Quota(gpus=2)), ZONE_SETTINGS)
    assert of_kind(granted, "ResourceQuota")["zone"]["spec"]["hard"]["requests.nvidia.com/gpu"] == "2"


def test_a_pod_without_a_deadline_finds_no_quota():
    quota = of_kind(zone_manifests(a_zone(), ZONE_SETTINGS), "ResourceQuota")["without-deadline"]["spec"]
    assert quota == {"hard": {"pods": "0"}, "scopes": ["NotTerminating"]}


def test_packets_pass_only_from_the_proxy_and_to_the_gateway():
    policies = of_kind(zone_manifests(a_zone(), ZONE_SETTINGS), "NetworkPolicy")
    assert policies["deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    peers = [
        (rule["ports"], peer)
        for policy in policies.values()
        for key, way in (("ingress", "from"), ("egress", "to"))
        for rule in policy["spec"].get(key, [])
        for peer in rule[way]
    ]
    assert [ports for ports, _ in peers] == [
        [{"port": 8888, "protocol": "TCP"}],
        [{"port": 8443, "protocol": "TCP"}],
    ]
    for _, peer in peers:  # one entry with both selectors means "and"
        assert set(peer) == {"namespaceSelector", "podSelector"}


@pytest.mark.parametrize(
    ("source", "storage", "possible"),
    [("host-path", True, True), ("nfs", True, False), ("host-path", False, False), ("s3", True, False)],
)
def test_user_namespaces_are_required_only_where_every_volume_has_id_mapped_mounts(source, storage, possible):
    given_settings = ZONE_SETTINGS.model_copy(update={"storage_id_mapped": storage})
    zone = a_zone(data=(a_volume(source=source),), user_namespaces="required")
    assert id_mapped(zone, given_settings) is possible
    if possible:
        assert zone_manifests(zone, given_settings)
    else:
        with pytest.raises(ZoneRefused, match="requires user namespaces") as refused:
            zone_manifests(zone, given_settings)
        assert (source if storage else "homes") in refused.value.detail
    assert zone_manifests(a_zone(data=zone.data), given_settings)


def test_a_version_listed_twice_is_refused():
    with pytest.raises(ZoneRefused, match="twice"):
        zone_manifests(a_zone(data=(a_volume(), a_volume())), ZONE_SETTINGS)
    assert zone_manifests(a_zone(data=(a_volume(), a_volume(OTHER_VERSION))), ZONE_SETTINGS)
