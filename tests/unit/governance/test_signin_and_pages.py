"""Signing in, and the pages on the services."""

from __future__ import annotations

import re

import pytest

from broch_api.datasets.versions import VersionVault
from broch_api.signin.pages import local_path
from broch_core.errors import Conflict
from broch_core.lifecycles import ProjectStatus
from support.governance import make_governance

SAME = {"Sec-Fetch-Site": "same-origin"}


def test_the_demo_signs_in_this_machine_and_says_who_one_is(gov):
    started = gov.client().post("/api/v1/sessions", json={"handle": "ruth"})
    assert started.status_code == 201
    bearer = {"Authorization": f"Bearer {started.json()['token']}"}
    here = gov.client().get("/api/v1/sessions/current", headers=bearer).json()
    assert here["person"]["handle"] == "ruth"
    assert here["memberships"] == {gov.world.project.id: "researcher"}
    assert gov.client().delete("/api/v1/sessions/current", headers=bearer).status_code == 204
    assert gov.client().get("/api/v1/sessions/current", headers=bearer).status_code == 401
    assert gov.client("::1").post("/api/v1/sessions", json={"handle": "ruth"}).status_code == 201


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "testclient", "2001:db8::1"])
def test_the_demo_answers_no_other_machine(gov, host):
    client = gov.client(host)
    assert client.post("/api/v1/sessions", json={"handle": "ruth"}).status_code == 403
    assert client.get("/sign-in").status_code == 403
    assert client.post("/sign-in", data={"person": "ruth"}, headers=SAME).status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_the_demo_answers_nothing_that_a_proxy_passed_on(gov, header):
    answer = gov.client().post("/api/v1/sessions", json={"handle": "ruth"}, headers={header: "127.0.0.1"})
    assert answer.status_code == 403


def test_another_site_signs_nobody_in(gov):
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert gov.client().post("/api/v1/sessions", json={"handle": "ruth"}, headers=cross).status_code == 403
    assert gov.client().post("/sign-in", data={"person": "ruth"}, headers=cross).status_code == 403
    assert gov.client().post("/sign-in", data={"person": "ruth"}).status_code == 403


def test_without_the_demo_nobody_signs_in_without_a_password(tmp_path):
    def off(world):
        world.settings = world.settings.model_copy(update={"demo": False})

    answer = make_governance(tmp_path, off).client().post("/api/v1/sessions", json={"handle": "ruth"})
    assert answer.status_code == 403
    assert "demo" in answer.json()["detail"]


def test_the_cookie_is_bound_to_this_host_and_scripts_cannot_read_it(gov):
    client = gov.client()
    client.follow_redirects = False
    answer = client.post("/sign-in", data={"person": "ruth", "next": "/projects?x=1"}, headers=SAME)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/projects?x=1"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-broch=")
    for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    "href",
    ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:x", "", "/\n/x", "/" + "x" * 3000],
)
def test_nobody_is_led_elsewhere_after_signing_in(href):
    assert local_path(href) == "/"


def test_a_local_path_is_kept():
    assert local_path("/projects?before=1") == "/projects?before=1"


def test_a_page_without_a_session_asks_to_sign_in_and_comes_back(gov):
    client = gov.client()
    client.follow_redirects = False
    answer = client.get("/projects?x=1", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fprojects%3Fx%3D1"


PAGES = {
    "/": {"ada", "stella", "owen", "rita", "ruth", "sam"},
    "/projects": {"ada", "stella", "owen", "rita", "ruth", "sam"},
    "/projects/new": {"ada"},
    "/projects/{project}": {"ada", "ruth"},
    "/datasets": {"ada", "stella", "owen", "rita", "ruth", "sam"},
    "/datasets/new": {"stella"},
    "/datasets/{dataset}": {"ada", "stella", "owen", "rita", "ruth", "sam"},
    "/people": {"ada"},
}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_for_those_it_is_for_and_nobody_else(gov, path):
    dataset = gov.api("ada").get("/api/v1/datasets").json()["items"][0]["id"]
    address = path.format(project=gov.world.project.id, dataset=dataset)
    for handle in ("ada", "stella", "owen", "rita", "ruth", "sam"):
        answer = gov.page(handle).get(address)
        hidden = 404 if "{project}" in path else 403
        assert answer.status_code == (200 if handle in PAGES[path] else hidden), handle


def test_a_form_without_its_token_changes_nothing(gov):
    browser = gov.page("ada")
    path = f"/projects/{gov.world.project.id}/freeze"
    assert browser.http.post(path, data={"csrf_token": "0" * 64}).status_code == 403
    assert browser.http.post(path).status_code == 403
    cross = browser.http.post(
        path, data={"csrf_token": browser.csrf}, headers={"Sec-Fetch-Site": "same-site"}
    )
    assert cross.status_code == 403
    assert gov.api("ada").get(f"/api/v1/projects/{gov.world.project.id}").json()["status"] == "active"
    assert browser.post(path).status_code == 303
    assert gov.api("ada").get(f"/api/v1/projects/{gov.world.project.id}").json()["status"] == "frozen"


def test_a_refused_form_keeps_what_was_written_and_says_where_it_is_wrong(gov):
    answer = gov.page("ada").post(
        "/projects",
        {"name": "<b>New</b>", "slug": "alpha", "starts_on": "2026-01-01", "ends_on": "2999-01-01"},
    )
    assert answer.status_code == 422
    assert "&lt;b&gt;New&lt;/b&gt;" in answer.text
    assert "<b>New</b>" not in answer.text
    assert 'id="error-slug"' in answer.text
    assert "There is a project &#39;alpha&#39; already." in answer.text


def test_pages_lead_from_an_open_version_to_a_grant(gov):
    steward, owner = gov.page("stella"), gov.page("owen")
    made = steward.post("/datasets", {"slug": "cells", "title": "Cells", "owner": "owen"})
    dataset = made.headers["location"]
    opened = steward.post(f"{dataset}/versions").headers["location"]
    version_id = opened.rsplit("/", 1)[1]
    gov.api("stella").put(
        f"/api/v1/dataset-versions/{version_id}/files/t.csv",
        content=b"a",
        headers={"Content-Type": "application/octet-stream"},
    )
    assert "t.csv" in steward.get(opened).text
    assert steward.post(f"{opened}/seal").status_code == 303
    assert steward.post(f"{opened}/verify").status_code == 303
    fields = {"project_id": gov.world.project.id, "version_id": version_id, "kind": "mount"}
    late = owner.post(f"{dataset}/grants", fields | {"until": "2999-01-01"})
    assert late.status_code == 422
    assert 'id="error-until"' in late.text
    until = str(gov.world.project.ends_on)
    assert owner.post(f"{dataset}/grants", fields | {"until": until}).status_code == 303
    member = f"{gov.world.project.id}:{gov.world.people['robin'].id}"
    assert owner.post(f"{dataset}/export-permissions", {"member": "nonsense"}).status_code == 422
    assert owner.post(f"{dataset}/export-permissions", {"member": member}).status_code == 303
    shown = owner.get(dataset).text
    revoke = re.search(rf"{dataset}/grants/[0-9A-Z]+/revoke", shown)
    assert revoke is not None
    assert owner.post(revoke.group()).status_code == 303


def test_the_first_page_names_what_waits(gov):
    gov.world.add_project("waiting", status=ProjectStatus.PLANNED)
    assert "Planned projects" in gov.page("ada").get("/").text
    assert "Planned projects" not in gov.page("ruth").get("/").text
    assert "1 grant holds" in gov.page("owen").get("/").text
    assert "Nothing waits for you" in gov.page("rita").get("/").text


def test_a_file_that_comes_while_sealing_makes_the_seal_fail(gov, monkeypatch):
    steward = gov.api("stella")
    dataset = steward.post("/api/v1/datasets", json={"slug": "c", "title": "C", "owner": "owen"}).json()
    version = steward.post(f"/api/v1/datasets/{dataset['id']}/versions").json()
    base = f"/api/v1/dataset-versions/{version['id']}/files"
    octets = {"Content-Type": "application/octet-stream"}
    steward.put(f"{base}/a", content=b"a", headers=octets)
    vault: VersionVault = gov.service(VersionVault)
    real = gov.world.store.write

    def late(**options):
        monkeypatch.setattr(gov.world.store, "write", real)
        assert steward.put(f"{base}/b", content=b"b", headers=octets).status_code == 201
        return real(**options)

    monkeypatch.setattr(gov.world.store, "write", late)
    actor = gov.world.actor("stella")
    with pytest.raises(Conflict):
        vault.seal(actor, version["id"])
    assert vault.seal(actor, version["id"]).file_count == 2
