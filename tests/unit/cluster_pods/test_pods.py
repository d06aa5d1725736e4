"""Pods of a zone: made by the plan alone, the same every time, bounded in time and size."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broch_workspaces.cluster.hardened import NotHardened, Rules, assert_hardened
from broch_workspaces.cluster.pods import PodRefused, importer_pod, workspace_pod
from broch_workspaces.cluster.settings import PodSettings
from broch_workspaces.cluster.spec import Delivery
from support.zones import NOW, POD_SETTINGS, a_delivery, a_plan, a_zone, check_golden, names

GOLDEN = Path(__file__).parent / "golden"
ENV = {"JUPYTERHUB_API_TOKEN": "t0ken", "JUPYTERHUB_API_URL": "https://gateway.broch.internal:8443/hub/api"}


QUEUED = POD_SETTINGS.model_copy(update={"gpu_queue": True})


def made(plan=None, env=ENV, settings=POD_SETTINGS, **more):
    return workspace_pod(plan or a_plan(), settings, env, now=NOW, **more)


def variables(pod):
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}


PODS = {
    "workspace": made(args=("--ServerApp.root_dir=/home/researcher",)),
    "workspace-gpu": made(
        a_plan(
            cluster={
                "gpus": {"nvidia.com/mig-1g.10gb": 1},
                "runtime_class": "gvisor",
                "node_selector": {"pool": "gpu"},
                "user_namespace": False,
            }
        )
    ),
    "workspace-shared": made(a_plan(home=None, shared=True)),
    "workspace-queued": made(a_plan(cluster={"gpus": {"nvidia.com/gpu": 1}}), settings=QUEUED),
    "importer": importer_pod(a_zone(), a_delivery(), POD_SETTINGS),
}


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_is_what_its_golden_file_says(name, request):
    check_golden(GOLDEN / f"{name}.json", PODS[name], update=request.config.getoption("--update-golden"))


def test_importers_and_workspaces_without_a_place_of_their_own_run_where_zones_do():
    settings = POD_SETTINGS.model_copy(update={"node_selector": {"pool": "zones"}})
    own = a_plan(cluster={"node_selector": {"pool": "gpu"}})
    placed = {
        "importer": (importer_pod(a_zone(), a_delivery(), settings), Rules.for_importer(a_zone(), settings)),
        "workspace": (made(settings=settings), Rules.for_workspace(a_plan(), settings)),
        "gpu": (made(own, settings=settings), Rules.for_workspace(own, settings)),
    }
    assert {name: pod["spec"]["nodeSelector"]["pool"] for name, (pod, _) in placed.items()} == {
        "importer": "zones",
        "workspace": "zones",
        "gpu": "gpu",
    }
    for pod, rules in placed.values():
        assert_hardened(pod, rules)
        del pod["spec"]["nodeSelector"]
        with pytest.raises(NotHardened):
            assert_hardened(pod, rules)


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(timedelta(hours=3), 10800), (timedelta(days=9), 8 * 3600), (timedelta(seconds=1.9), 1)],
)
def test_a_workspace_ends_at_its_deadline_or_after_a_working_day(left, seconds):
    assert made(a_plan(deadline_at=NOW + left))["spec"]["activeDeadlineSeconds"] == seconds


def test_a_workspace_without_time_left_is_refused():
    with pytest.raises(PodRefused, match="time for this workspace is over"):
        made(a_plan(deadline_at=NOW))


def test_a_plan_for_one_machine_is_refused():
    with pytest.raises(PodRefused, match="one machine"):
        made(a_plan().model_copy(update={"cluster": None}))


def test_a_profile_without_devices_sees_none_and_no_driver():
    told = variables(made())
    assert told["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not [name for name in told if name.startswith(("NVIDIA_DRIVER", "CUDA"))]
    assert set(made()["spec"]["containers"][0]["resources"]["limits"]) == {
        "cpu",
        "memory",
        "ephemeral-storage",
    }


def test_a_profile_with_devices_asks_for_exactly_those():
    pod = made(a_plan(cluster={"gpus": {"nvidia.com/gpu": 2}}))
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "NVIDIA_VISIBLE_DEVICES" not in variables(pod)


def test_only_a_workspace_with_devices_waits_in_the_queue_and_only_where_there_is_one():
    with_gpu = a_plan(cluster={"gpus": {"nvidia.com/gpu": 1}})
    labels = made(with_gpu, settings=QUEUED)["metadata"]["labels"]
    assert labels.pop("kueue.x-k8s.io/queue-name") == "gpu"
    assert labels == made(with_gpu)["metadata"]["labels"]
    assert made(settings=QUEUED) == made()
    assert importer_pod(a_zone(), a_delivery(), QUEUED) == PODS["importer"]


def test_a_workspace_is_led_to_packages_where_the_gateway_has_them():
    assert "BROCH_PACKAGES" not in variables(made())
    settings = POD_SETTINGS.model_copy(update={"packages": True})
    pod = workspace_pod(a_plan(), settings, ENV | {"BROCH_PACKAGES": "0"}, now=NOW)
    assert variables(pod)["BROCH_PACKAGES"] == "1"
    assert_hardened(pod, Rules.for_workspace(a_plan(), settings))


def test_what_the_hub_gives_cannot_change_what_broch_says():
    taken = variables(made(env={"SSL_CERT_FILE": "/home/researcher/ca", "NVIDIA_VISIBLE_DEVICES": "all"}))
    assert taken["SSL_CERT_FILE"] == "/etc/broch/ca/ca.crt"
    assert taken["NVIDIA_VISIBLE_DEVICES"] == "void"


@given(name=st.text(max_size=60).filter(lambda name: "\0" not in name))
def test_a_projects_name_is_never_read_as_a_reference_to_a_variable(name):
    told = variables(made(a_plan(project_name=name + "$(JUPYTERHUB_API_TOKEN)")))["BROCH_PROJECT"]
    # Kubernetes turns two dollar signs into one, and nothing else is left to expand.
    assert told.replace("$$", "$") == name + "$(JUPYTERHUB_API_TOKEN)"
    assert "$" not in told.replace("$$", "")


@given(name=names)
def test_a_delivery_arrives_as_it_was_sent_whatever_its_name(name):
    delivery = a_delivery(name=name)
    told = variables(importer_pod(a_zone(), delivery, POD_SETTINGS))["BROCH_DELIVERY"]
    assert told.isascii()
    assert Delivery.model_validate(json.loads(told.replace("$$", "$"))) == delivery


def test_a_further_attempt_at_a_delivery_is_another_pod():
    first, second = (importer_pod(a_zone(), a_delivery(), POD_SETTINGS, attempt=n) for n in (0, 1))
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_shared_memory_is_never_more_than_half_of_the_memory():
    profile = a_plan().profile.model_copy(update={"memory_bytes": 1 << 30})
    volumes = {one["name"]: one for one in made(a_plan(profile=profile))["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": str(1 << 29)}


def test_the_gateway_may_be_named_and_is_looked_up_when_settings_are_read():
    found = PodSettings.model_validate({**POD_SETTINGS.model_dump(), "gateway_address": "localhost"})
    assert str(found.gateway_address) == "127.0.0.1"
    with pytest.raises(ValidationError, match="has no address"):
        PodSettings.model_validate({**POD_SETTINGS.model_dump(), "gateway_address": "nowhere.invalid"})


@pytest.mark.parametrize(("home", "shared"), [(None, False), ("home-x", True)])
def test_a_plan_has_a_home_or_is_shared(home, shared):
    assert a_plan(home=None, shared=True).shared
    with pytest.raises(ValidationError, match="home"):
        a_plan(home=home, shared=shared)


def test_a_shared_workspace_s_plan_has_no_key_to_the_door():
    with pytest.raises(ValidationError, match="door"):
        a_plan(home=None, shared=True, door_token="t0ken")


def test_a_shared_pod_holds_nobody_s_home_and_its_own_is_gone_with_it():
    pod = made(a_plan(home=None, shared=True))
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert {"imports", "project"} < claims
    assert not any(claim.startswith("home-") for claim in claims)
    (home,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "home"]
    assert home["emptyDir"] == {"sizeLimit": str(a_plan().profile.tmp_bytes)}
    assert variables(pod)["BROCH_SHARED"] == "1"
    assert "BROCH_SHARED" not in variables(made())
