"""Who asks, who decides: the desk, the API and the rules together on a small world."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from broch_core.errors import Conflict
from broch_core.lifecycles import AllowanceStatus, ProjectStatus
from broch_core.tables.packages import ListedPackage, Lookup
from support.package_lists import Lists, change_project, listed, package

P = "/api/v1/packages"


def ask(lists: Lists, who: str, name: str, *, project: bool = True, **more: Any) -> Any:
    body = {"ecosystem": "pypi", "name": name, "version": "1.0.0", "why": "We need it.", **more}
    if project:
        body["project_id"] = lists.world.project.id
    return lists.gov.api(who).post(P, json=body)


def test_a_lead_asks_and_an_admin_who_did_not_ask_decides(lists: Lists):
    lists.route.add(package("lifelines"))
    made = ask(lists, "lena", "Lifelines")
    assert made.status_code == 201
    assert made.json()["status"] == "proposed"
    assert made.json()["name"] == "lifelines"
    path = f"{P}/{made.json()['id']}"
    assert lists.gov.api("lena").post(f"{path}/approve", json={}).status_code == 403
    assert lists.gov.api("ruth").post(f"{path}/approve", json={}).status_code == 403
    assert lists.gov.api("sam").post(f"{path}/approve", json={}).status_code == 404
    done = lists.gov.api("ada").post(f"{path}/approve", json={})
    assert done.json()["status"] == "allowed"
    assert done.json()["decided_by"]["handle"] == "ada"
    told = {record.outcome: record.actor_id for record in lists.gov.records("package:approve")}
    assert told["allowed"] == lists.world.people["ada"].id
    assert "denied" in told
    again = lists.gov.api("adam").post(f"{path}/approve", json={})
    assert again.status_code == 409


def test_an_admin_who_is_a_member_only_asks(lists: Lists):
    lists.route.add(package("lifelines"))
    made = ask(lists, "adele", "lifelines").json()
    assert made["status"] == "proposed"
    own = lists.gov.api("adele").post(f"{P}/{made['id']}/approve", json={})
    assert own.status_code == 403
    assert "yourself" in own.json()["detail"]
    assert lists.gov.api("ada").post(f"{P}/{made['id']}/approve", json={}).status_code == 200


def test_an_admin_who_works_in_a_project_only_asks_for_the_list_of_all(lists: Lists):
    """That list is their own project's too: else they would alone let in what reaches the data that they work with."""
    lists.route.add(package("lifelines"))
    made = ask(lists, "adele", "lifelines", project=False).json()
    assert made["status"] == "proposed"
    assert lists.gov.api("adele").post(f"{P}/{made['id']}/approve", json={}).status_code == 403
    assert lists.gov.api("ada").post(f"{P}/{made['id']}/approve", json={}).json()["status"] == "allowed"


def test_the_reason_for_an_odd_licence_is_of_whoever_allows_it(lists: Lists):
    """Who asks may propose one; else an odd licence would be among those that are allowed without a look."""
    lists.route.add(package("closed", licence="Proprietary"))
    made = ask(lists, "lena", "closed", licence_reason="It is fine.").json()
    assert "whoever allows it has to say why" in made["problem"]
    path = f"{P}/{made['id']}"
    assert lists.gov.api("ada").post(f"{path}/approve", json={}).status_code == 422
    assert "It is fine." in lists.gov.page("ada").get(f"/packages/{made['id']}").text
    declined = lists.gov.api("ada").post(f"{path}/decline", json={"reason": "No."})
    assert declined.json()["status"] == "declined"
    assert lists.gov.api("ada").post(f"{path}/again").status_code == 422
    again = lists.gov.api("lena").post(f"{path}/again").json()
    done = lists.gov.api("ada").post(f"{P}/{again['id']}/approve", json={"licence_reason": "Bought."})
    assert (done.json()["status"], done.json()["licence_reason"]) == ("allowed", "Bought.")


def test_what_an_admin_adds_for_others_is_allowed_at_once(lists: Lists):
    lists.route.add(package("lifelines"))
    assert ask(lists, "ada", "lifelines", project=False).json()["status"] == "allowed"
    assert lists.row("lifelines").facts == {"requires_python": ">=3.12"}
    assert len(lists.gov.records("package:ask")) == len(lists.gov.records("package:approve")) == 1
    twice = ask(lists, "lena", "lifelines")
    assert twice.status_code == 409
    assert "allowed already" in twice.json()["detail"]


def test_questions_that_registries_are_slow_to_answer_do_not_take_all_threads_of_web(lists: Lists):
    lists.route.add(package("lifelines"))
    lists.route.hold.clear()
    begun = [threading.Thread(target=ask, args=(lists, "lena", "lifelines")) for _ in range(2)]
    for one in begun:
        one.start()
    until = time.monotonic() + 10
    while len(lists.route.asked) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    try:
        query = {"ecosystem": "pypi", "name": "lifelines", "version": "1.0.0"}
        query["project_id"] = lists.world.project.id
        refused = lists.gov.api("lena").get(f"{P}/lookup", params=query)
        assert refused.status_code == 429
        page = lists.gov.page("lena").post("/packages/lookup", query | {"why": "For our model."})
        assert page.status_code == 422
        assert "Try again in a minute" in page.text
        assert len(lists.route.asked) == 2, "nothing more is asked for this person"
    finally:
        lists.route.hold.set()
        for one in begun:
            one.join(10)
    assert lists.gov.api("lena").get(f"{P}/lookup", params=query).status_code == 200


@pytest.mark.parametrize(("who", "status"), [("ruth", 403), ("sam", 404)])
def test_others_cannot_ask(lists: Lists, who: str, status: int):
    lists.route.add(package("lifelines"))
    assert ask(lists, who, "lifelines").status_code == status
    assert ask(lists, "lena", "lifelines", project=False).status_code == 403
    assert lists.rows() == []
    assert lists.route.asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"version": ">=1"}, "version"),
        ({"channel": "main"}, "channel"),
        ({"ecosystem": "conda"}, "channel"),
        ({"version": "9.9.9"}, "version"),
    ],
)
def test_what_is_no_package_is_refused_beside_its_field(lists: Lists, change: dict[str, str], field: str):
    lists.route.add(package("lifelines"))
    answer = ask(lists, "ada", **({"name": "lifelines"} | change))
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert lists.rows() == []


def test_an_odd_licence_needs_a_reason_from_who_allows_it(lists: Lists):
    lists.route.add(package("closed", licence="Proprietary"), package("silent", licence=""))
    assert ask(lists, "ada", "closed").status_code == 422
    assert ask(lists, "ada", "closed", licence_reason="Bought.").json()["status"] == "allowed"
    asked = ask(lists, "lena", "silent").json()
    assert (asked["licence_fits"], asked["status"]) == (False, "proposed")
    path = f"{P}/{asked['id']}/approve"
    refused = lists.gov.api("ada").post(path, json={})
    assert (refused.status_code, refused.json()["field"]) == (422, "licence_reason")
    done = lists.gov.api("ada").post(path, json={"licence_reason": "Its file says MIT."})
    assert done.json()["licence_reason"] == "Its file says MIT."


def test_where_the_route_is_away_nothing_is_asked_for(lists: Lists):
    lists.route.away = True
    answer = ask(lists, "ada", "lifelines")
    assert answer.status_code == 503
    assert lists.rows() == []


def test_of_two_admins_who_decide_at_once_one_wins(lists: Lists):
    row = listed(lists.world, "lifelines", "lena", AllowanceStatus.PROPOSED, lists.world.project.id)
    barrier, answers = threading.Barrier(2), []
    clients = {"approve": lists.gov.api("ada"), "decline": lists.gov.api("adam")}

    def decide(event: str) -> None:
        barrier.wait()
        body = {"reason": "No."} if event == "decline" else {}
        answers.append(clients[event].post(f"{P}/{row.id}/{event}", json=body).status_code)

    threads = [threading.Thread(target=decide, args=(event,)) for event in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 409]
    decided = [*lists.gov.records("package:approve"), *lists.gov.records("package:decline")]
    assert len(decided) == 1  # the loser's record went with its transaction


def test_several_are_decided_together_or_not_at_all(lists: Lists):
    project = lists.world.project.id
    one, two = (listed(lists.world, n, "lena", AllowanceStatus.PROPOSED, project) for n in ("one", "two"))
    gone = listed(lists.world, "gone", "lena", AllowanceStatus.DECLINED, project)
    api = lists.gov.api("ada")
    assert api.post(f"{P}/approvals", json={"ids": [one.id, two.id, gone.id]}).status_code == 409
    assert {row.status for row in lists.rows()} == {AllowanceStatus.PROPOSED, AllowanceStatus.DECLINED}
    assert len(api.post(f"{P}/approvals", json={"ids": [one.id, two.id]}).json()) == 2


def test_nothing_is_allowed_for_a_project_that_has_ended(lists: Lists):
    lists.route.add(package("lifelines"))
    ask(lists, "lena", "lifelines")
    common = listed(lists.world, "numpy", "lena", AllowanceStatus.PROPOSED, None)
    change_project(lists, status=ProjectStatus.ENDED)
    both = {"ids": [common.id, lists.row("lifelines").id]}
    refused = lists.gov.api("ada").post(f"{P}/approvals", json=both)
    assert refused.status_code == 409
    assert "has ended" in refused.json()["detail"]
    assert {row.status for row in lists.rows()} == {AllowanceStatus.PROPOSED}
    change_project(lists, status=ProjectStatus.ACTIVE)
    assert lists.gov.api("ada").post(f"{P}/approvals", json=both).status_code == 200


def test_a_removal_is_kept_and_undone_by_asking_again(lists: Lists):
    row = listed(lists.world, "lifelines", "lena", AllowanceStatus.ALLOWED, lists.world.project.id)
    gone = lists.gov.api("ada").post(f"{P}/{row.id}/remove", json={"reason": "Nobody maintains it."}).json()
    assert (gone["status"], gone["removed_by"]["handle"]) == ("removed", "ada")
    again = lists.gov.api("lena").post(f"{P}/{row.id}/again")
    assert (again.status_code, again.json()["status"]) == (201, "proposed")
    assert lists.gov.api("lena").post(f"{P}/{row.id}/again").status_code == 409
    assert [one.status for one in lists.rows()] == [AllowanceStatus.REMOVED, AllowanceStatus.PROPOSED]
    assert lists.rows()[1].files == lists.rows()[0].files


def test_who_asked_may_take_it_back(lists: Lists):
    row = listed(lists.world, "lifelines", "lena", AllowanceStatus.PROPOSED, lists.world.project.id)
    assert lists.gov.api("ruth").post(f"{P}/{row.id}/decline", json={"reason": "x"}).status_code == 403
    mine = lists.gov.api("lena").post(f"{P}/{row.id}/decline", json={"reason": "A slip."})
    assert mine.json()["status"] == "declined"


def test_lists_show_what_is_common_and_ones_own(lists: Lists):
    world = lists.world
    listed(world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    listed(world, "ours", "lena", AllowanceStatus.ALLOWED, world.project.id)
    names = {
        who: [one["name"] for one in lists.gov.api(who).get(P).json()["items"]]
        for who in ("ruth", "sam", "ada")
    }
    assert names == {"ruth": ["ours", "numpy"], "sam": ["numpy"], "ada": ["ours", "numpy"]}
    api = lists.gov.api("ada")
    for query, found in (
        ("q=UMP", ["numpy"]),
        ("common=true", ["numpy"]),
        (f"project_id={world.project.id}", ["ours"]),
        ("status=proposed", []),
    ):
        assert [one["name"] for one in api.get(f"{P}?{query}").json()["items"]] == found
    first = api.get(f"{P}?limit=1").json()
    assert [one["name"] for one in api.get(f"{P}?before={first['next']}").json()["items"]] == ["numpy"]


def test_a_lookup_tells_of_names_that_look_alike(lists: Lists):
    listed(lists.world, "requests", "ada", AllowanceStatus.ALLOWED, None)
    lists.route.add(package("reqeusts"), package("requests"))
    query = {"ecosystem": "pypi", "version": "1.0.0"}
    found = lists.gov.api("ada").get(f"{P}/lookup", params={**query, "name": "reqeusts"}).json()
    assert (found["near"], found["listed"]) == (["requests"], False)
    assert lists.gov.api("ada").get(f"{P}/lookup", params={**query, "name": "requests"}).json()["listed"]


def test_the_database_itself_keeps_entries_whole(lists: Lists):
    project = lists.world.project.id
    listed(lists.world, "one", "lena", AllowanceStatus.ALLOWED, project)
    for wrong in (
        {"name": "one", "status": AllowanceStatus.PROPOSED},
        {"name": "two", "status": AllowanceStatus.ALLOWED, "lookup": Lookup.WAITING},
        {"name": "three", "status": AllowanceStatus.PROPOSED, "channel": "main"},
        {"name": "four", "status": AllowanceStatus.PROPOSED, "ecosystem": "other"},
        {"name": "five", "status": AllowanceStatus.ALLOWED, "decided_at": None},
    ):
        name, status = str(wrong.pop("name")), wrong.pop("status")
        with pytest.raises(Conflict):
            listed(lists.world, name, "lena", status, project, **wrong)  # type: ignore[arg-type]
    assert isinstance(lists.row("one"), ListedPackage)


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_a_page_on_which_nothing_is_chosen_says_so(lists: Lists, verb: str):
    page = lists.gov.page("ada")
    answer = page.post(f"/packages/{verb}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/packages?status=proposed")
    assert lists.gov.page("ruth").post(f"/packages/{verb}").status_code == 403
    elsewhere = page.post(f"/packages/{verb}", {"back": "//evil.example/packages?"})
    assert elsewhere.headers["location"] == "/packages?status=proposed"


def test_the_page_of_the_lists_is_searched_by_its_form(lists: Lists):
    listed(lists.world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    listed(lists.world, "ours", "lena", AllowanceStatus.PROPOSED, lists.world.project.id)
    page = lists.gov.page("ada")
    for query, shown in {
        "q=num": {"numpy"},
        "ecosystem=cran": set(),
        "status=proposed": {"ours"},
        "project=all": {"numpy"},
        f"project={lists.world.project.id}": {"ours"},
        "status=nonsense&project=nonsense": set(),
    }.items():
        text = page.get(f"/packages?{query}").text
        assert {name for name in ("numpy", "ours") if f"{name} 1.0.0" in text} == shown, query
    assert "Nothing like that" in page.get("/packages?q=nothing").text
    assert "ours 1.0.0" not in lists.gov.page("sam").get("/packages").text
