"""The viewer's origin."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from broch_core.lifecycles import AirlockStatus
from support.reviews import VIEWER, ReviewWorld


@pytest.fixture
def request_(place: ReviewWorld):
    return place.in_review()


def ticket(place: ReviewWorld, request, handle: str = "rita", **wrong) -> str:
    file = place.files(request)[0]
    answer = place.client().post(
        f"/api/v1/airlock/requests/{request.id}/files/{file.id}/views",
        json={"sha256": file.sha256, "turn": 1} | wrong,
        headers=place.world.headers(handle),
    )
    if answer.status_code != 201:
        return str(answer.status_code)
    assert answer.json()["target"] == f"{VIEWER}/view"
    return str(answer.json()["ticket"])


def inert(answer) -> None:
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox;")
    assert "frame-ancestors http://broch.localhost:8000" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("text/html")
    assert "set-cookie" not in answer.headers
    assert "<script" not in answer.text


def test_a_ticket_shows_a_file_once(place: ReviewWorld, request_):
    viewer, token = place.viewer(), ticket(place, request_)
    answer = viewer.post("/view", data={"ticket": token, "page": "3"})
    assert answer.status_code == 200
    assert "table.csv" in answer.text
    assert "part 3" in answer.text
    inert(answer)
    again = viewer.post("/view", data={"ticket": token})
    assert again.status_code == 410
    inert(again)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/view", "ticket=nonsense", 410),
        ("POST", "/view", "", 410),
        ("POST", "/view", "%%%", 422),
        ("POST", "/view", "ticket=x&page=-1", 422),
        ("POST", "/view", "ticket=x&page=" + "9" * 30, 422),
        ("POST", "/view", "ticket=" + "x" * 9000, 413),
        ("GET", "/view", "", 405),
        ("GET", "/", "", 404),
        ("GET", "/openapi.json", "", 404),
    ],
)
def test_every_error_is_inert_html(place: ReviewWorld, method, path, body, status):
    answer = place.viewer().request(method, path, content=body)
    assert answer.status_code == status
    inert(answer)


def test_another_host_is_misdirected(place: ReviewWorld, request_):
    elsewhere = TestClient(place.viewer().app, base_url="http://broch.localhost:8000")
    answer = elsewhere.post("/view", data={"ticket": ticket(place, request_)})
    assert answer.status_code == 421
    inert(answer)


@pytest.mark.parametrize(("handle", "answer"), [("ruth", "403"), ("sam", "404"), ("ada", "404")])
def test_only_reviewers_get_a_view_ticket(place: ReviewWorld, request_, handle: str, answer: str):
    assert ticket(place, request_, handle) == answer


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"turn": 2}])
def test_a_view_of_what_is_not_there_is_refused(place: ReviewWorld, request_, wrong):
    assert ticket(place, request_, **wrong) == "409"


def test_a_view_ticket_ends_with_its_session(place: ReviewWorld, request_):
    file = place.files(request_)[0]
    token = place.world.token("rita")
    actor = place.world.sessions.actor(token)
    made = place.client().post(
        f"/api/v1/airlock/requests/{request_.id}/files/{file.id}/views",
        json={"sha256": file.sha256, "turn": 1},
        headers={"Authorization": f"Bearer {token}"},
    )
    place.world.sessions.end(actor)
    assert place.viewer().post("/view", data={"ticket": made.json()["ticket"]}).status_code == 410


def test_a_view_ticket_is_no_download_ticket_and_ends_with_the_review(place: ReviewWorld, request_):
    token = ticket(place, request_)
    browser, csrf = place.browser("rita")
    assert browser.post("/airlock/download", data={"ticket": token, "csrf_token": csrf}).status_code == 410
    place.move(request_, AirlockStatus.WITHDRAWN)
    assert place.viewer().post("/view", data={"ticket": token}).status_code == 409
