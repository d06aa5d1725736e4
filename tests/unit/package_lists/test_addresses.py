"""Outside addresses: asked for, decided, undone, and the limit of a day."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from broch_core.actors import ProjectRole
from broch_core.clock import utc_now
from broch_core.lifecycles import AllowanceStatus
from broch_core.tables.projects import Membership
from support.package_lists import Lists, nominated

BODY = {"slug": "genes", "url": "https://example.org/genes.tsv", "largest": 1000, "why": "Gene names."}


def path(lists: Lists) -> str:
    return f"/api/v1/projects/{lists.world.project.id}/resources"


def test_a_lead_asks_an_admin_decides_and_the_name_is_free_again(lists: Lists):
    made = lists.gov.api("lena").post(path(lists), json=BODY)
    assert (made.status_code, made.json()["status"]) == (201, "proposed")
    assert lists.gov.api("lena").post(path(lists), json=BODY).status_code == 409
    one = f"/api/v1/resources/{made.json()['id']}"
    assert lists.gov.api("lena").post(f"{one}/approve").status_code == 403
    assert lists.gov.api("sam").post(f"{one}/approve").status_code == 404
    assert lists.gov.api("ada").post(f"{one}/approve").json()["status"] == "allowed"
    assert lists.gov.api("adam").post(f"{one}/approve").status_code == 409
    gone = lists.gov.api("ada").post(f"{one}/remove", json={"reason": "Moved."})
    assert gone.json()["removed_by"]["handle"] == "ada"
    assert lists.gov.api("lena").post(f"{one}/again").json()["status"] == "proposed"


def test_an_admin_who_is_a_member_only_asks(lists: Lists):
    assert lists.gov.api("adele").post(path(lists), json=BODY).json()["status"] == "proposed"
    assert lists.gov.api("ada").post(path(lists), json={**BODY, "slug": "x"}).json()["status"] == "allowed"


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://example.org/x"},
        {"url": "https://example.org"},
        {"url": "https://user@example.org/x"},
        {"url": "https://EXAMPLE.org/x"},
        {"url": "https://example.org/a b"},
        {"url": "https://10.0.0.1/x"},
        {"url": "https://localhost/x"},
        {"slug": "../x"},
        {"sha256": "abc"},
        {"largest": 0},
        {"why": " "},
    ],
)
def test_what_is_no_address_outside_is_refused(lists: Lists, change: dict[str, object]):
    assert lists.gov.api("ada").post(path(lists), json=BODY | change).status_code == 422
    assert lists.gov.api("ada").get(path(lists)).json()["items"] == []


def test_an_address_of_another_project_is_none_on_this_ones_page(lists: Lists):
    row = nominated(lists.world, "genes", "lena", AllowanceStatus.PROPOSED, lists.world.project.id)
    other = lists.world.add_project("gamma", "ruth")
    ada = lists.gov.page("ada")
    assert ada.post(f"/projects/{other.id}/resources/{row.id}/approve").status_code == 404
    assert ada.post(f"/projects/{lists.world.project.id}/resources/{row.id}/approve").status_code == 303


def test_the_limit_of_a_day_is_an_admins_to_set(lists: Lists):
    limit = f"/api/v1/projects/{lists.world.project.id}/package-budget"
    use = f"/api/v1/projects/{lists.world.project.id}/package-use"
    assert lists.gov.api("lena").put(limit, json={"bytes_a_day": 5}).status_code == 403
    assert lists.gov.api("ada").put(limit, json={"bytes_a_day": 0}).status_code == 422
    assert lists.gov.api("ada").put(limit, json={"bytes_a_day": 5}).status_code == 200
    assert lists.gov.api("ruth").get(use).json()["bytes_a_day"] == 5
    page = lists.gov.page("ada")
    for text, bytes_a_day in (("x", 5), ("0", 5), ("3", 3 << 30), ("", 20 << 30)):
        page.post(f"/projects/{lists.world.project.id}/package-budget", {"gibibytes": text})
        assert lists.gov.api("ruth").get(use).json()["bytes_a_day"] == bytes_a_day


@pytest.mark.parametrize("until", [None, utc_now() - timedelta(days=1)])
def test_no_admin_says_what_a_project_of_their_own_may_fetch(lists: Lists, until: datetime | None):
    world = lists.world
    limit = f"/api/v1/projects/{world.project.id}/package-budget"
    world.add(
        Membership(
            project_id=world.project.id,
            person_id=world.people["adam"].id,
            role=ProjectRole.RESEARCHER,
            until=until,
        )
    )
    answer = lists.gov.api("adam").put(limit, json={"bytes_a_day": 1 << 40})
    assert answer.status_code == 403
    assert "another platform admin" in answer.json()["detail"]
    page = f"/projects/{world.project.id}/packages"
    assert "package-budget" not in lists.gov.page("adam").get(page).text
    assert lists.gov.page("adam").post(f"/projects/{world.project.id}/package-budget").status_code == 403
    assert "package-budget" in lists.gov.page("ada").get(page).text
    assert lists.gov.api("ada").put(limit, json={"bytes_a_day": 1 << 40}).status_code == 200
