"""Lock files: looked at, taken, looked up in the background; nothing is allowed that registry and file do not agree on."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from broch_api.packages.entries import LOOK_UP
from broch_api.packages.lookups import PackageLookups
from broch_core.actors import ProjectRole
from broch_core.lifecycles import AllowanceStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.tables.packages import Lookup
from broch_core.tables.people import PersonRole
from broch_core.tables.projects import Membership
from support.failing_audit import AuditUnwritable, audit_failing
from support.package_lists import Lists, digest_of, listed, make_lists, package, requirement

P = "/api/v1/packages"


def take(lists: Lists, who: str, *lines: str, project: bool = True, **more: Any) -> Any:
    body = {"filename": "requirements.txt", "content": "\n".join(lines), "why": "For our model.", **more}
    if project:
        body["project_id"] = lists.world.project.id
    return lists.gov.api(who).post(f"{P}/lock-files", json=body)


def test_a_lock_file_is_looked_at_before_anything_is_asked_for(lists: Lists):
    listed(lists.world, "requests", "ada", AllowanceStatus.ALLOWED, None)
    content = "\n".join([requirement("requests"), requirement("request"), requirement("numpy"), "-e ."])
    body = {"filename": "requirements.txt", "content": content, "project_id": lists.world.project.id}
    seen = lists.gov.api("lena").post(f"{P}/lock-files/preview", json=body).json()
    assert seen["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    found = {one["name"]: (one["state"], one["near"]) for one in seen["entries"]}
    assert found == {"requests": ("allowed", []), "request": ("new", ["requests"]), "numpy": ("new", [])}
    assert (seen["new"], seen["near"], len(seen["problems"])) == (2, 1, 1)
    assert len(lists.rows()) == 1
    assert lists.route.asked == []


def test_what_a_lead_asks_for_is_looked_up_and_waits_for_an_admin(lists: Lists):
    lists.route.add(package("numpy", files=3), package("pandas"))
    taken = take(lists, "lena", requirement("numpy", numbers=(0, 2)), requirement("pandas"))
    assert (taken.status_code, taken.json()["added"]) == (202, 2)
    progress = f"{P}/progress?lock={taken.json()['sha256']}"
    assert lists.gov.api("lena").get(progress).json() == {"total": 2, "done": 0, "failed": 0, "waiting": 2}
    early = lists.gov.api("ada").post(f"{P}/{lists.row('numpy').id}/approve", json={})
    assert early.status_code == 409
    lists.gov.work()
    assert lists.gov.api("lena").get(progress).json() == {"total": 2, "done": 2, "failed": 0, "waiting": 0}
    row = lists.row("numpy")
    assert (row.status, row.lookup) == (AllowanceStatus.PROPOSED, Lookup.DONE)
    assert {d for file in row.files for d in file["digests"]} == {
        f"sha256:{digest_of('numpy', n)}" for n in (0, 2)
    }
    assert lists.gov.api("ada").post(f"{P}/{row.id}/approve", json={}).status_code == 200


def test_what_an_admin_adds_is_allowed_as_the_registry_confirms_it(lists: Lists):
    lists.route.add(package("numpy"), package("closed", licence="Proprietary"))
    take(lists, "ada", requirement("numpy"), requirement("closed"), project=False)
    assert lists.row("numpy").status is AllowanceStatus.PROPOSED
    lists.gov.work()
    assert lists.row("numpy").status is AllowanceStatus.ALLOWED
    odd = lists.row("closed")
    assert odd.status is AllowanceStatus.PROPOSED
    assert odd.problem is not None
    assert "licence" in odd.problem
    ada = lists.world.people["ada"].id
    assert [record.actor_id for record in lists.gov.records("package:approve")] == [ada]


@pytest.mark.parametrize(("who", "allowed"), [("lena", False), ("adam", True)])
def test_a_reason_for_odd_licences_counts_of_an_admin_who_adds_and_of_nobody_who_asks(
    lists: Lists, who: str, allowed: bool
):
    lists.route.add(package("closed", licence="Proprietary"))
    take(lists, who, requirement("closed"), licence_reason="It is fine.")
    lists.gov.work()
    row = lists.row("closed")
    assert (row.status is AllowanceStatus.ALLOWED) is allowed
    assert (row.problem is None) is allowed
    if not allowed:
        assert lists.gov.api("ada").post(f"{P}/{row.id}/approve", json={}).status_code == 422


def test_an_admin_who_is_none_any_more_allows_nothing(lists: Lists):
    lists.route.add(package("numpy"))
    take(lists, "adam", requirement("numpy"), project=False)
    with lists.world.store.write(housekeeping=True) as change:
        role = change.session.get_one(PersonRole, (lists.world.people["adam"].id, "admin"))
        change.session.delete(role)
    lists.gov.work()
    assert (lists.row("numpy").status, lists.row("numpy").lookup) == (AllowanceStatus.PROPOSED, Lookup.DONE)


def test_an_admin_who_joined_a_project_meanwhile_allows_nothing_for_all(lists: Lists):
    lists.route.add(package("numpy"))
    take(lists, "adam", requirement("numpy"), project=False)
    world = lists.world
    world.add(
        Membership(project_id=world.project.id, person_id=world.people["adam"].id, role=ProjectRole.LEAD)
    )
    lists.gov.work()
    assert (lists.row("numpy").status, lists.row("numpy").lookup) == (AllowanceStatus.PROPOSED, Lookup.DONE)


def test_digests_that_the_registry_does_not_have_are_refused_in_words(lists: Lists):
    lists.route.add(package("numpy"))
    take(lists, "ada", requirement("numpy", numbers=(0, 7)), project=False)
    lists.gov.work()
    row = lists.row("numpy")
    assert (row.status, row.lookup, row.files) == (AllowanceStatus.PROPOSED, Lookup.FAILED, [])
    assert row.problem is not None
    assert "1 of 2 digests" in row.problem
    refused = lists.gov.api("adam").post(f"{P}/{row.id}/approve", json={})
    assert refused.status_code == 409
    assert "digests" in refused.json()["detail"]


def test_what_the_registry_does_not_have_can_be_looked_up_again(lists: Lists):
    take(lists, "lena", requirement("numpy"))
    lists.gov.work()
    assert lists.row("numpy").lookup is Lookup.FAILED
    lists.route.add(package("numpy"))
    body = {"project_id": lists.world.project.id}
    assert lists.gov.api("lena").post(f"{P}/lookups", json=body).json() == {"count": 1}
    lists.gov.work()
    assert lists.row("numpy").lookup is Lookup.DONE
    assert lists.gov.api("lena").post(f"{P}/lookups", json=body).status_code == 409


def test_what_was_declined_before_it_was_looked_up_is_looked_up_when_asked_for_again(lists: Lists):
    take(lists, "lena", requirement("numpy"))
    row = lists.row("numpy")
    lists.desk.decline(lists.world.actor("ada"), [row.id], "Why?")
    lists.gov.work()
    assert lists.row("numpy").lookup is Lookup.WAITING  # what ended is left alone
    lists.route.add(package("numpy"))
    assert lists.gov.api("ada").post(f"{P}/{row.id}/again").json()["status"] == "proposed"
    lists.gov.work()
    assert lists.row("numpy").status is AllowanceStatus.ALLOWED


def test_a_lead_has_failed_ones_looked_up_again_by_the_page(lists: Lists):
    shown = f"/packages?lock={take(lists, 'lena', requirement('numpy')).json()['sha256']}"
    lists.gov.work()
    lena = lists.gov.page("lena")
    text = lena.get(shown).text
    assert "1 could not be looked up" in text
    assert f'name="project_id" value="{lists.world.project.id}"' in text
    answer = lena.post("/packages/lookups", {"project_id": lists.world.project.id, "back": shown})
    assert answer.headers["location"] == shown
    assert lists.row("numpy").lookup is Lookup.WAITING
    assert "Try again" not in lists.gov.page("ruth").get(shown).text


def test_many_entries_are_looked_up_in_steps(lists: Lists):
    names = [f"package-{number}" for number in range(12)]
    lists.route.add(*map(package, names))
    take(lists, "lena", *map(requirement, names))
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    lookups.step({})
    assert len(lists.route.asked) == 5
    lists.gov.work()
    assert all(row.lookup is Lookup.DONE for row in lists.rows())
    assert len(lists.route.asked) == 12


def test_a_long_lock_file_of_one_project_does_not_hold_up_the_others(lists: Lists):
    names = [f"package-{number}" for number in range(12)]
    lists.route.add(*map(package, [*names, "urgent"]))
    take(lists, "lena", *map(requirement, names))
    take(lists, "ada", requirement("urgent"), project=False)
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    lookups.step({})
    assert lists.row("urgent").lookup is Lookup.DONE
    assert [one["name"] for one in lists.route.asked[:3]] == ["package-0", "urgent", "package-1"]


def test_where_the_route_is_away_entries_wait(lists: Lists):
    take(lists, "lena", requirement("numpy"))
    lists.route.away = True
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    with pytest.raises(TemporaryError):
        lookups.step({})
    assert lists.row("numpy").lookup is Lookup.WAITING
    lists.route.away, lists.route.status = False, 502
    lookups.step({})
    assert lists.row("numpy").problem == "The registry does not answer."


def never(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (never, "too long to answer"),
        (lambda _: httpx.Response(200, content=b" " * ((4 << 20) + 1)), "says more than"),
        (lambda _: httpx.Response(200, json={"package": "none"}), "what is no package"),
        (lambda _: httpx.Response(200, json={"package": package("other")}), "another package"),
    ],
)
def test_one_package_of_which_nothing_comes_fails_alone(lists: Lists, odd: Any, says: str):
    lists.route.odd["aardvark"] = odd
    lists.route.add(package("numpy"))
    assert take(lists, "lena", requirement("aardvark"), requirement("numpy")).status_code == 202
    lists.gov.work()
    assert lists.row("numpy").lookup is Lookup.DONE
    row = lists.row("aardvark")
    assert row.lookup is Lookup.FAILED
    assert says in row.problem
    del lists.route.odd["aardvark"]
    lists.route.add(package("aardvark"))
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    assert lookups.again(lists.world.actor("lena"), lists.world.project.id) == 1
    lists.gov.work()
    assert lists.row("aardvark").lookup is Lookup.DONE


def test_an_installation_without_a_route_prepares_lists_that_are_looked_up_later(tmp_path: Any):
    lists = make_lists(tmp_path, route=False)
    assert take(lists, "lena", requirement("numpy")).status_code == 202
    assert lists.gov.effects(LOOK_UP) == []
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    assert lookups.catch_up() == 0
    answer = lists.gov.api("lena").get(
        f"{P}/lookup",
        params={"ecosystem": "pypi", "name": "x", "version": "1", "project_id": lists.world.project.id},
    )
    assert answer.status_code == 503
    assert "no package route" in answer.json()["detail"]
    page = lists.gov.page("lena").get(f"/projects/{lists.world.project.id}/packages").text
    assert "no package route" in page


def test_waiting_entries_that_nobody_looks_up_are_found(lists: Lists):
    listed(lists.world, "numpy", "lena", AllowanceStatus.PROPOSED, None, lookup=Lookup.WAITING, files=[])
    lists.route.add(package("numpy"))
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    assert lookups.catch_up() == 1
    assert lookups.catch_up() == 0
    lists.gov.work()
    assert lists.row("numpy").lookup is Lookup.DONE
    assert lookups.catch_up() == 0


def test_an_answer_that_cannot_be_recorded_changes_nothing(lists: Lists):
    lists.route.add(package("numpy"))
    take(lists, "ada", requirement("numpy"), project=False)
    lookups: PackageLookups = lists.gov.service(PackageLookups)
    for number in (0, 1):  # what was looked up, that it is allowed
        with audit_failing(lists.world.store.engine, number), pytest.raises(AuditUnwritable):
            lookups.step({})
        assert (lists.row("numpy").status, lists.row("numpy").lookup) == (
            AllowanceStatus.PROPOSED,
            Lookup.WAITING,
        )
    lookups.step({})
    assert lists.row("numpy").status is AllowanceStatus.ALLOWED


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content": "\x00"}, 422),
        ({"content": ""}, 422),
        ({"filename": "table.csv"}, 422),
        ({"filename": "x\u202e.txt"}, 422),
        ({"why": ""}, 422),
        ({"content": "x" * 900_001}, 422),
    ],
)
def test_what_is_no_lock_file_changes_nothing(lists: Lists, change: dict[str, str], status: int):
    body = {"filename": "requirements.txt", "content": requirement("numpy"), "why": "We need it."} | change
    assert lists.gov.api("ada").post(f"{P}/lock-files", json=body).status_code == status
    assert lists.rows() == []


def test_a_lock_file_that_brings_nothing_new_is_a_conflict(lists: Lists):
    assert take(lists, "lena", requirement("numpy")).status_code == 202
    assert take(lists, "lena", requirement("numpy")).status_code == 409


def test_the_pages_lead_from_the_file_to_the_projects_page(lists: Lists):
    project = lists.world.project.id
    lists.route.add(package("lifelines"))
    lena, ada = lists.gov.page("lena"), lists.gov.page("ada")
    sent = lena.http.post(
        "/packages/lock-file",
        data={"csrf_token": lena.csrf, "project_id": project},
        files={"file": ("requirements.txt", requirement("lifelines").encode())},
    )
    assert sent.status_code == 200
    packed = sent.text.split('name="packed" value="')[1].split('"')[0]
    fields = {
        "project_id": project,
        "filename": "requirements.txt",
        "packed": packed,
        "why": "Survival curves.",
    }
    taken = lena.post("/packages/lock-file/take", fields)
    assert taken.status_code == 303
    assert taken.headers["location"].startswith("/packages?lock=")
    lists.gov.work()
    shown = ada.get(taken.headers["location"]).text
    assert "Survival curves." in shown
    assert 'name="ids"' in shown
    assert 'name="ids"' not in lena.get(taken.headers["location"]).text
    done = ada.post("/packages/approve", {"ids": lists.row("lifelines").id})
    assert done.headers["location"] == "/packages?status=proposed"
    assert "pip install lifelines==1.0.0" in lists.gov.page("ruth").get(f"/projects/{project}/packages").text


@pytest.mark.parametrize("packed", ["", "AAAA", "eJwLAAA=", "\u00e9"])
def test_a_page_that_is_out_of_date_asks_for_the_file_again(lists: Lists, packed: str):
    fields = {"filename": "requirements.txt", "packed": packed, "why": "We need it."}
    answer = lists.gov.page("ada").post("/packages/lock-file/take", fields)
    assert answer.status_code == 422
    assert "Choose the lock file again" in answer.text
