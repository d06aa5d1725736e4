"""The pod of a sandbox, and what is made of what the cluster says of one."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_workspaces.sandboxes.pod_starter import PodStarter, is_orphan, trouble_of
from broch_workspaces.sandboxes.pods import BROKER_RULES, OWNER_LABEL, sandbox_pod, selector
from support.sandbox_rig import settings_of

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TOKEN = "f" * 64


def pod(**changes: object) -> dict[str, Any]:
    return sandbox_pod("sandbox-1", TOKEN, "PEM", settings_of(Path("/nowhere"), **changes))


def test_a_sandbox_believes_the_authority_of_the_moment_in_which_it_is_made(tmp_path: Path) -> None:
    """The broker shows a renewed certificate without a restart; a sandbox of the old authority would not speak to it."""
    told: list[str] = []

    class Asked(PodStarter):
        async def _call(self, *asked: Any) -> tuple[int, dict[str, Any]]:
            carry, _ = asked[-1]["spec"]["containers"]
            told.append(next(one["value"] for one in carry["env"] if one["name"] == "BROCH_SANDBOX_CA"))
            return 201, {}

    settings = settings_of(tmp_path)
    settings.tls.mkdir(parents=True, exist_ok=True)
    starter = Asked(None, settings)  # type: ignore[arg-type] - no API server is asked
    for authority in ("old", "old and new"):
        (settings.tls / "ca.crt").write_text(authority)
        asyncio.run(starter.start("sandbox-1", TOKEN))
    assert told == ["old", "old and new"]


@given(
    user_namespaces=st.booleans(),
    runtime_class=st.sampled_from(["", "gvisor"]),
    memory_bytes=st.integers(64 << 20, 8 << 30),
    inputs_bytes=st.integers(1, 1 << 40),
    node_selector=st.dictionaries(st.sampled_from(["pool"]), st.sampled_from(["a", "b"])),
)
def test_no_setting_opens_a_sandbox(**changes: object) -> None:
    made = pod(**changes)
    spec = made["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert (spec["hostNetwork"], spec["hostPID"], spec["hostIPC"]) == (False, False, False)
    assert spec["shareProcessNamespace"] is False
    assert spec["hostUsers"] is (not changes["user_namespaces"])
    assert (spec["dnsPolicy"], spec["restartPolicy"]) == ("None", "Never")
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [set(volume) for volume in spec["volumes"]] == [{"name", "emptyDir"}] * 2
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"])
    assert "initContainers" not in spec
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
        assert context["readOnlyRootFilesystem"] is True
        assert "@sha256:" in container["image"]
        assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["limits"])
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


def test_the_container_that_parses_has_no_token_and_only_read_only_mounts() -> None:
    carry, look = pod()["spec"]["containers"]
    assert look["env"] == []
    assert all(
        mount["readOnly"] and mount["recursiveReadOnly"] == "Enabled" for mount in look["volumeMounts"]
    )
    assert TOKEN not in str(look)
    # The twin: the one that fetches has both.
    assert TOKEN in str(carry["env"])
    assert not any(mount.get("readOnly") for mount in carry["volumeMounts"])


def test_a_sandbox_is_found_by_its_labels_and_names_its_broker() -> None:
    labels = pod(owner="broker-7")["metadata"]["labels"]
    assert all(f"{key}={labels[key]}" in selector() for key in labels if key != OWNER_LABEL)
    assert labels[OWNER_LABEL] == "broker-7"


def test_the_broker_may_do_three_things_with_pods() -> None:
    assert BROKER_RULES == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "list"]}]


def seen(owner: str, phase: str, age: timedelta, **metadata: object) -> dict[str, Any]:
    created = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = {"name": "x", "labels": {OWNER_LABEL: owner}, "creationTimestamp": created, **metadata}
    return {"metadata": made, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("found", "orphan"),
    [
        (seen("broker-1", "Running", timedelta(seconds=1)), True),
        (seen("another", "Running", timedelta(minutes=5)), False),
        (seen("another", "Pending", timedelta(minutes=5)), False),
        (seen("another", "Failed", timedelta(seconds=10)), False),
        (seen("another", "Failed", timedelta(minutes=5)), True),
        (seen("another", "Succeeded", timedelta(minutes=5)), True),
        (seen("another", "Running", timedelta(days=1)), True),
        (seen("broker-1", "Running", timedelta(days=1), deletionTimestamp="2026-05-01T11:59:59Z"), False),
    ],
)
def test_what_nobody_will_remove_is_an_orphan(found: dict[str, Any], orphan: bool) -> None:
    assert is_orphan(found, settings_of(Path("/nowhere")), NOW) is orphan


def test_a_pod_under_way_is_no_trouble_and_one_that_cannot_start_says_why() -> None:
    under_way: dict[str, Any] = {
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}],
        }
    }
    assert trouble_of({}) == ""
    assert trouble_of(under_way) == ""
    for reason, word in (
        ("ErrImageNeverPull", "not on the node"),
        ("CreateContainerError", "cannot be made"),
    ):
        sick = copy.deepcopy(under_way)
        sick["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] = reason
        assert word in trouble_of(sick)
    assert "ended" in trouble_of({"status": {"phase": "Failed"}})
    one_gone = {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}}
    assert "ended" in trouble_of(one_gone)
