"""The package route on a cluster: asked for, looked up, allowed, installed in a notebook; and what is not on the list.

The registry lies beside the cluster, as a mirror of an institution would. It prints every request, so that what was not
asked for is seen too.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from cluster.test_walls import Notebook
from support.cluster.browsing import SHELL, Desk, Said, await_lab, call, eventually_called, run_cell
from support.cluster.cluster import Cluster, eventually
from support.cluster.registry import Registry
from support.cluster.release import zone_of
from support.cluster.targets import Target, reached, unreached

NAME = "selvage"
SLIP = "selvgae"
"""A slip away from the name, and on no list."""


def test_what_a_lead_asks_for_and_an_admin_allows_is_installed_and_a_slip_leaves_nothing_outside(
    desk: Desk, texture: str, cluster: Cluster, registry: Registry, enforced: float
) -> None:
    digest = registry.publish(NAME, "1.0")
    ada, mona = desk.page("ada"), desk.page("mona")
    wanted = {"project_id": texture, "ecosystem": "pypi", "name": NAME, "version": "1.0", "why": "To weave."}
    entry = call(ada, "POST", "/api/v1/packages", wanted)
    assert (entry["status"], entry["lookup"], entry["licence"]) == ("proposed", "done", "MIT")
    assert registry.asked() == [f"/simple/{NAME}/", f"/pypi/{NAME}/1.0/json"]
    here = f"/api/v1/packages/{entry['id']}"
    (file,) = call(ada, "GET", here)["files"]
    assert file["digests"] == [f"sha256:{digest}"]
    with pytest.raises(Said, match="403"):
        call(ada, "POST", f"{here}/approve", {})
    assert call(mona, "POST", f"{here}/approve", {})["status"] == "allowed"

    made = call(ada, "POST", "/api/v1/workspaces", {"project_id": texture})
    eventually_called(ada, f"/api/v1/workspaces/{made['id']}", {"status": "running"}, seconds=120)
    ada.goto(f"{SHELL}/projects/{texture}/workspace")
    await_lab(ada)
    said = run_cell(ada, f"!pip install {NAME}\nimport {NAME}; print({NAME}.VERSION, {NAME}.__file__)")
    assert f"Successfully installed {NAME}-1.0" in said
    assert re.search(rf"1\.0 /home/researcher/\.local/\S+/{NAME}/__init__\.py", said)
    asked = registry.asked()
    assert asked[2:] == [f"/simple/{NAME}/", f"/files/{digest[:8]}/{NAME}-1.0-py3-none-any.whl"]

    said = " ".join(run_cell(ada, f"!pip install {SLIP}").split())
    assert f"'{SLIP}' is not on the list of this project. Did you mean '{NAME}'?" in said
    assert "Successfully" not in said
    assert registry.asked() == asked, "a name that is not listed leaves the zone by no way"

    use = f"/api/v1/projects/{texture}/package-use"
    eventually(lambda: call(ada, "GET", use)["refused"])
    found = call(ada, "GET", use)
    assert [(one["name"], one["version"], one["count"]) for one in found["fetched"]] == [(NAME, "1.0", 1)]
    assert [(one["name"], one["near"]) for one in found["refused"]] == [(SLIP, [NAME])]
    space = zone_of(cluster, texture)
    (pod,) = cluster.get("pods", namespace=space, selector="broch.dev/role=workspace")["items"]
    records = f"/api/v1/audit/records?project={texture}&action=packages:"
    (fetch,) = call(mona, "GET", f"{records}fetch")["items"]
    assert fetch["facts"]["sha256"] == digest
    assert fetch["facts"]["pod"] == f"{space}/{pod['metadata']['name']}"
    assert call(mona, "GET", f"{records}denial")["items"][0]["outcome"] == "denied"

    # The route reached it a moment ago, so somebody is there.
    notebook = Notebook(cluster, space, pod["metadata"]["name"])
    mirror = Target("registry", "tcp", registry.address, registry.port)
    gateway = Target("gateway", "tcp", "gateway.broch.internal", 8443)
    assert reached(notebook.probe([mirror, gateway])).keys() == {"gateway"}
    assert unreached(notebook.probe([gateway])) == {}

    ada.goto(f"{SHELL}/projects/{texture}/packages")
    expect(ada.get_by_role("table", name="Refused")).to_contain_text(f"{NAME} was meant?")
    expect(ada.get_by_text(f"pip install {NAME}==1.0")).to_be_visible()
