"""What the package route is told and says: one token, lists that wake it, records before bytes."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from broch.health import packages_part
from broch_api.internal.app import make_internal_app
from broch_api.internal.credentials import ServiceTokens
from broch_api.packages import route_lists
from broch_api.packages.route_lists import PackageListRegister
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.clock import utc_now
from broch_core.lifecycles import AllowanceStatus, ProjectStatus
from broch_core.tables.packages import PackageUse, Use
from broch_workspaces.packages.spec import PackageLists
from support.failing_audit import AuditUnwritable, audit_failing
from support.package_lists import PACKAGES_TOKEN, Lists, change_project, digest_of, listed, nominated

TOKENS = ServiceTokens("hub-token", "oauth", "web", packages=PACKAGES_TOKEN)
ROUTE = {"Authorization": f"Bearer {PACKAGES_TOKEN}"}
LISTS, FETCHES, DENIALS = (f"/internal/v1/package-{name}" for name in ("lists", "fetches", "denials"))


def client(lists: Lists, tokens: ServiceTokens = TOKENS) -> TestClient:
    services = {**lists.gov.services, ServiceTokens: tokens}
    return TestClient(make_internal_app(services), base_url="http://localhost", headers=ROUTE)


def told(api: TestClient, **query: Any) -> PackageLists:
    answer = api.get(LISTS, params=query)
    assert answer.status_code == 200
    return PackageLists.model_validate_json(answer.content)


def fetch(lists: Lists, name: str = "numpy", **more: Any) -> dict[str, Any]:
    project = lists.world.project.id
    return {
        "project_id": project,
        "pod": f"zone-{project.lower()}/workspace-1",
        "kind": "package",
        "ecosystem": "pypi",
        "name": name,
        "version": "1.0.0",
        "file": f"{name}-1.0.0-0.whl",
        "sha256": digest_of(name),
        "size": 1000,
        **more,
    }


@pytest.mark.parametrize(
    "token", ["", "hub-token", PACKAGES_TOKEN.upper(), PACKAGES_TOKEN[:-1], "t\u00f6ken"]
)
def test_only_the_package_route_is_answered(lists: Lists, token: str):
    api = client(lists)
    headers = {"Authorization": f"Bearer {token}".encode()}
    assert api.get(LISTS, headers=headers).status_code == 401
    assert api.post(FETCHES, json=fetch(lists), headers=headers).status_code == 401
    assert api.post(DENIALS, json={"items": []}, headers=headers).status_code == 401
    nobody = client(lists, ServiceTokens("hub-token", "oauth", "web"))
    assert nobody.get(LISTS, headers={"Authorization": "Bearer "}).status_code == 401
    assert told(api).digest


def test_lists_are_of_what_is_allowed_and_of_projects_that_are_open(lists: Lists):
    world, project = lists.world, lists.world.project.id
    listed(world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    listed(world, "ours", "lena", AllowanceStatus.ALLOWED, project)
    for status in (AllowanceStatus.PROPOSED, AllowanceStatus.DECLINED, AllowanceStatus.REMOVED):
        listed(world, status.value, "lena", status, project)
        nominated(world, status.value, "lena", status, project)
    nominated(world, "genes", "lena", AllowanceStatus.ALLOWED, project)
    api = client(lists)
    found = told(api)
    alpha = next(one for one in found.projects if one.project_id == project)
    assert [one.name for one in found.common] == ["numpy"]
    assert [one.name for one in alpha.packages] == ["ours"]
    assert [one.slug for one in alpha.resources] == ["genes"]
    assert alpha.bytes_a_day == 20 << 30
    change_project(lists, package_bytes_a_day=5)
    assert next(one for one in told(api).projects if one.project_id == project).bytes_a_day == 5
    yesterday = utc_now().date() - timedelta(days=1)
    for closed in (
        {"status": ProjectStatus.FROZEN},
        {"status": ProjectStatus.ACTIVE, "starts_on": yesterday - timedelta(days=1), "ends_on": yesterday},
    ):
        change_project(lists, **closed)
        assert project not in {one.project_id for one in told(api).projects}


def test_the_digest_changes_with_what_is_said_and_only_then(lists: Lists):
    row = listed(lists.world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    api, seen = client(lists), set()
    seen.add(told(api).digest)
    listed(lists.world, "waits", "lena", AllowanceStatus.PROPOSED, lists.world.project.id)
    assert told(api).digest in seen
    lists.desk.remove(lists.world.actor("ada"), row.id, "No.")
    seen.add(told(api).digest)
    change_project(lists, package_bytes_a_day=5)
    seen.add(told(api).digest)
    nominated(lists.world, "genes", "lena", AllowanceStatus.ALLOWED, lists.world.project.id)
    seen.add(told(api).digest)
    assert len(seen) == 4


def test_who_waits_is_woken_by_a_decision(lists: Lists, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(route_lists, "_LOOK_SECONDS", 60.0)
    register: PackageListRegister = lists.gov.service(PackageListRegister)
    row = listed(lists.world, "numpy", "lena", AllowanceStatus.PROPOSED, None)
    before = register.lists()
    found: list[PackageLists] = []
    waiting = threading.Thread(target=lambda: found.append(register.wait(before.digest, 30)))
    waiting.start()
    lists.desk.approve(lists.world.actor("ada"), [row.id])
    waiting.join(timeout=20)
    assert found[0].digest != before.digest
    assert [one.name for one in found[0].common] == ["numpy"]


def test_a_fetch_is_recorded_before_its_bytes(lists: Lists):
    listed(lists.world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    api = client(lists)
    assert api.post(FETCHES, json=fetch(lists)).status_code == 204
    assert api.post(FETCHES, json=fetch(lists)).status_code == 204
    records = lists.gov.records("packages:fetch")
    assert [record.facts["sha256"] for record in records] == [digest_of("numpy")] * 2
    assert records[0].project_id == lists.world.project.id
    use = lists.gov.api("ruth").get(f"/api/v1/projects/{lists.world.project.id}/package-use").json()
    assert [(one["name"], one["count"], one["bytes"]) for one in use["fetched"]] == [("numpy", 2, 2000)]
    with audit_failing(lists.world.store.engine, 0), pytest.raises(AuditUnwritable):
        api.post(FETCHES, json=fetch(lists))
    assert len(lists.gov.records("packages:fetch")) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "pandas"}, 409),
        ({"version": "2.0.0"}, 409),
        ({"sha256": "0" * 64}, 409),
        ({"file": "other.whl"}, 409),
        ({"ecosystem": None}, 422),
        ({"pod": "zone-other/workspace-1"}, 422),
        ({"size": -1}, 422),
        ({"kind": "resource", "name": "numpy"}, 409),
        ({"project_id": "01JD3W7Z8Q5T9XK2M4N6P8R0SV", "pod": "zone-01jd3w7z8q5t9xk2m4n6p8r0sv/w"}, 404),
    ],
)
def test_what_is_not_on_the_list_is_not_recorded_as_fetched(
    lists: Lists, change: dict[str, Any], status: int
):
    listed(lists.world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    assert client(lists).post(FETCHES, json=fetch(lists) | change).status_code == status
    assert lists.gov.records("packages:fetch") == []


def test_what_was_removed_or_frozen_meanwhile_is_not_served(lists: Lists):
    row = listed(lists.world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    api = client(lists)
    change_project(lists, status=ProjectStatus.FROZEN)
    assert api.post(FETCHES, json=fetch(lists)).status_code == 409
    change_project(lists, status=ProjectStatus.ACTIVE)
    assert api.post(FETCHES, json=fetch(lists)).status_code == 204
    lists.desk.remove(lists.world.actor("ada"), row.id, "No.")
    assert api.post(FETCHES, json=fetch(lists)).status_code == 409


def test_an_address_is_fetched_as_it_was_nominated(lists: Lists):
    nominated(lists.world, "genes", "lena", AllowanceStatus.ALLOWED, lists.world.project.id)
    api = client(lists)
    one = fetch(lists, "genes", kind="resource", ecosystem=None, version="", file="")
    assert api.post(FETCHES, json=one).status_code == 204
    assert api.post(FETCHES, json=one | {"size": 1001}).status_code == 409


def denial(lists: Lists, name: str, count: int = 1) -> dict[str, Any]:
    return {"project_id": lists.world.project.id, "ecosystem": "pypi", "name": name, "count": count}


def test_refusals_are_one_record_and_show_what_was_meant(lists: Lists):
    listed(lists.world, "requests", "ada", AllowanceStatus.ALLOWED, None)
    api = client(lists)
    body = {"items": [denial(lists, "reqeusts", 3), denial(lists, "requests"), denial(lists, "x' <b>")]}
    assert api.post(DENIALS, json=body).status_code == 204
    records = lists.gov.records("packages:denial")
    assert [(record.outcome, record.facts) for record in records] == [("denied", {"names": 3, "times": 5})]
    with lists.world.store.read() as session:
        texts = session.exec(
            select(AuditPersonal).join(AuditRecord).where(AuditRecord.id == records[0].id)
        ).one()
    assert "pypi:reqeusts" in texts.texts["names"]
    use = lists.gov.api("ruth").get(f"/api/v1/projects/{lists.world.project.id}/package-use").json()
    shown = {one["name"]: (one["count"], one["near"], one["listed"]) for one in use["refused"]}
    assert shown == {
        "reqeusts": (3, ["requests"], False),
        "requests": (1, [], True),
        "x' <b>": (1, [], False),
    }
    page = lists.gov.page("ruth").get(f"/projects/{lists.world.project.id}/packages").text
    assert "requests was meant?" in page
    assert "<b>" not in page


def test_refused_names_are_bounded_and_their_record_is_needed(lists: Lists):
    api = client(lists)
    items = [denial(lists, f"made-up-{number}") for number in range(800)]
    assert api.post(DENIALS, json={"items": items}).status_code == 204
    with lists.world.store.read() as session:
        kept = len(session.exec(select(PackageUse).where(PackageUse.use == Use.REFUSED)).all())
    assert kept == 500
    with audit_failing(lists.world.store.engine, 0), pytest.raises(AuditUnwritable):
        api.post(DENIALS, json={"items": [denial(lists, "other")]})
    assert len(lists.gov.records("packages:denial")) == 1
    assert api.post(DENIALS, json={"items": [denial(lists, "new\n")]}).status_code == 422
    assert (
        api.post(DENIALS, json={"items": [{**denial(lists, "x"), "project_id": "0" * 26}]}).status_code == 404
    )


def test_the_page_of_status_says_whether_the_route_asks(lists: Lists):
    register: PackageListRegister = lists.gov.service(PackageListRegister)
    silent = packages_part(register)
    assert (silent.ok, silent.needed) == (False, False)
    told(client(lists))
    assert packages_part(register).ok
    register.asked_at = utc_now() - timedelta(seconds=91)
    assert not packages_part(register).ok
