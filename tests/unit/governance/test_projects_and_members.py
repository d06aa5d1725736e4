"""Projects, their life cycle, their members."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broch_api.projects.members import MemberRegister
from broch_api.projects.schemas import MemberAdd
from broch_core.errors import Conflict
from broch_core.ids import new_id
from broch_core.lifecycles import PROJECT, ProjectEvent, ProjectStatus
from broch_core.tables.projects import Project

TODAY = datetime.now(UTC).date()


def body(**changes: Any) -> dict[str, Any]:
    return {
        "slug": "gamma",
        "name": "Gamma",
        "purpose": "A question.",
        "starts_on": str(TODAY),
        "ends_on": str(TODAY + timedelta(days=30)),
    } | changes


def test_an_admin_creates_a_project_that_others_do_not_see(gov):
    made = gov.api("ada").post("/api/v1/projects", json=body())
    assert made.status_code == 201
    assert made.json()["status"] == "planned"
    assert gov.api("ada").get(f"/api/v1/projects/{made.json()['id']}").status_code == 200
    assert gov.api("ruth").get(f"/api/v1/projects/{made.json()['id']}").status_code == 404
    assert [p["slug"] for p in gov.api("ruth").get("/api/v1/projects").json()["items"]] == ["alpha"]
    assert len(gov.records("project:create")) == 1


def test_a_project_says_what_its_zone_on_a_cluster_shall_be(gov):
    plain = gov.api("ada").post("/api/v1/projects", json=body()).json()
    assert (plain["user_namespaces"], plain["quota"]) == ("where-possible", None)
    asked = {"user_namespaces": "required", "quota": {"cpu": 4, "memory_bytes": 1 << 33, "gpus": 2}}
    made = gov.api("ada").post("/api/v1/projects", json=body(slug="delta", **asked)).json()
    read = gov.api("ada").get(f"/api/v1/projects/{made['id']}").json()
    assert read["user_namespaces"] == "required"
    assert (read["quota"]["gpus"], read["quota"]["pods"]) == (2, 20)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"slug": "alpha"}, 409),
        ({"slug": "Bad Slug"}, 422),
        ({"name": ""}, 422),
        ({"name": "a\u202eb"}, 422),
        ({"name": "a\x00b"}, 422),
        ({"name": "x" * 121}, 422),
        ({"ends_on": str(TODAY - timedelta(days=1)), "starts_on": str(TODAY - timedelta(days=9))}, 422),
        ({"ends_on": str(TODAY), "starts_on": str(TODAY + timedelta(days=1))}, 422),
        ({"status": "active"}, 422),
        ({"user_namespaces": "sometimes"}, 422),
        ({"quota": {"cpu": 0}}, 422),
        ({"quota": {"cpus": 1}}, 422),
    ],
)
def test_an_unfit_project_is_refused_and_nothing_is_written(gov, changes, status):
    answer = gov.api("ada").post("/api/v1/projects", json=body(**changes))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(gov.api("ada").get("/api/v1/projects").json()["items"]) == 2


def test_only_an_admin_moves_or_creates_projects(gov):
    project = gov.world.project.id
    assert gov.api("ruth").post("/api/v1/projects", json=body()).status_code == 403
    assert gov.api("ruth").post(f"/api/v1/projects/{project}/freeze").status_code == 403
    assert gov.api("sam").post(f"/api/v1/projects/{project}/freeze").status_code == 404
    assert gov.api("ada").post(f"/api/v1/projects/{new_id()}/freeze").status_code == 404
    assert gov.api("ada").post(f"/api/v1/projects/{project}/freeze").json()["status"] == "frozen"


@pytest.mark.parametrize("status", list(ProjectStatus))
@pytest.mark.parametrize("event", list(ProjectEvent))
def test_the_api_moves_a_project_exactly_as_its_life_cycle_says(gov, status, event):
    project = gov.world.add_project(f"p-{status.value}-{event.value}", status=status)
    answer = gov.api("ada").post(f"/api/v1/projects/{project.id}/{event.value}")
    if event in PROJECT.events(status):
        assert answer.json()["status"] == PROJECT.after(status, event).value
    else:
        assert answer.status_code == 409


@pytest.mark.parametrize(("event", "stops"), [("freeze", 1), ("end", 1)])
def test_freezing_and_ending_stop_every_workspace(gov, event, stops):
    gov.api("ada").post(f"/api/v1/projects/{gov.world.project.id}/{event}")
    effects = gov.effects("workspace.stop")
    assert len(effects) == stops
    assert effects[0]["project_id"] == gov.world.project.id
    assert effects[0]["person_id"] is None


def test_thawing_stops_nothing(gov):
    project = gov.world.add_project("cold", status=ProjectStatus.FROZEN)
    assert gov.api("ada").post(f"/api/v1/projects/{project.id}/thaw").status_code == 200
    assert gov.effects("workspace.stop") == []


def test_a_project_whose_dates_are_over_is_not_activated(gov):
    old = Project(
        slug="old", name="Old", starts_on=TODAY - timedelta(days=9), ends_on=TODAY - timedelta(days=1)
    )
    gov.world.add(old)
    answer = gov.api("ada").post(f"/api/v1/projects/{old.id}/activate")
    assert answer.status_code == 409
    assert "over" in answer.json()["detail"]


def test_a_removed_member_stays_in_the_history_and_loses_everything_else(gov):
    project, ada = gov.world.project.id, gov.api("ada")
    ruth = gov.world.people["ruth"].id
    before = ada.get(f"/api/v1/projects/{project}").json()
    member = next(m for m in before["members"] if m["person"]["id"] == ruth)
    assert gov.api("ruth").get(f"/api/v1/projects/{project}").status_code == 200
    gone = ada.delete(f"/api/v1/projects/{project}/members/{member['id']}")
    assert gone.json()["present"] is False
    assert gov.api("ruth").get(f"/api/v1/projects/{project}").status_code == 404
    after = ada.get(f"/api/v1/projects/{project}").json()
    assert [m["present"] for m in after["members"] if m["person"]["id"] == ruth] == [False]
    assert all(p["withdrawn_at"] for p in after["export_permissions"] if p["person"]["id"] == ruth)
    assert gov.effects("workspace.stop")[0]["person_id"] == ruth
    again = ada.delete(f"/api/v1/projects/{project}/members/{member['id']}")
    assert again.status_code == 409


def test_a_membership_of_another_project_is_not_found_here(gov):
    beta = next(p for p in gov.api("ada").get("/api/v1/projects").json()["items"] if p["slug"] == "beta")
    member = gov.api("ada").get(f"/api/v1/projects/{beta['id']}/members").json()[0]
    path = f"/api/v1/projects/{gov.world.project.id}/members/{member['id']}"
    assert gov.api("ada").delete(path).status_code == 404


def test_a_person_joins_once_and_may_come_back_after_leaving(gov):
    ada, path = gov.api("ada"), f"/api/v1/projects/{gov.world.project.id}/members"
    first = ada.post(path, json={"handle": "sam"})
    assert first.status_code == 201
    assert ada.post(path, json={"handle": "sam"}).status_code == 409
    ada.delete(f"{path}/{first.json()['id']}")
    assert ada.post(path, json={"handle": "sam", "role": "lead"}).status_code == 201
    assert len([m for m in ada.get(path).json() if m["person"]["handle"] == "sam"]) == 2


def test_a_reviewer_who_joins_is_named_as_one_who_may_not_review_here(gov):
    path = f"/api/v1/projects/{gov.world.project.id}/members"
    assert gov.api("ada").post(path, json={"handle": "rita"}).json()["reviewer"] is True
    assert gov.api("ada").post(path, json={"handle": "sam"}).json()["reviewer"] is False


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"handle": "nobody-here"}, 422),
        ({"handle": "sam", "role": "king"}, 422),
        ({"handle": "sam", "last_day": -1}, 422),
        ({"handle": "sam", "last_day": 4000}, 422),
        ({"handle": "sam", "last_day": 0}, 201),
    ],
)
def test_membership_has_limits(gov, given, status):
    """The last day counts from today, whichever that is when the test runs."""
    path = f"/api/v1/projects/{gov.world.project.id}/members"
    if "last_day" in given:
        given = given | {"last_day": str(datetime.now(UTC).date() + timedelta(days=given["last_day"]))}
    assert gov.api("ada").post(path, json=given).status_code == status


def test_nobody_joins_an_ended_project(gov):
    ended = gov.world.add_project("gone", status=ProjectStatus.ENDED)
    assert (
        gov.api("ada").post(f"/api/v1/projects/{ended.id}/members", json={"handle": "sam"}).status_code == 409
    )


def test_of_two_who_add_the_same_person_at_once_one_wins(gov):
    members: MemberRegister = gov.service(MemberRegister)
    ada, outcomes, gate = gov.world.actor("ada"), [], threading.Barrier(2)

    def add():
        gate.wait()
        try:
            members.add(ada, gov.world.project.id, MemberAdd(handle="sam"))
            outcomes.append("added")
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added", "conflict"]


def test_people_are_added_by_admins_with_roles_and_unique_handles(gov):
    ada = gov.api("ada")
    given = {"handle": "nora", "display_name": "Nora Ek", "roles": ["reviewer", "steward"]}
    made = ada.post("/api/v1/people", json=given)
    assert made.status_code == 201
    assert made.json()["roles"] == ["reviewer", "steward"]
    assert ada.post("/api/v1/people", json=given).status_code == 409
    assert gov.api("ruth").post("/api/v1/people", json=given).status_code == 403
    assert gov.api("ruth").get("/api/v1/people").status_code == 403
    first = ada.get("/api/v1/people?limit=4").json()
    rest = ada.get(f"/api/v1/people?limit=200&before={first['next']}").json()
    handles = [p["handle"] for p in first["items"] + rest["items"]]
    assert handles[0] == "nora"
    assert len(handles) == len(set(handles)) == 10
    assert rest["next"] is None
