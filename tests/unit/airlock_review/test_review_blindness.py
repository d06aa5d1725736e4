"""Non-interference: what reviewer 1 does changes nothing that the author or reviewer 2 can see, until the reveal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from support.reviews import ReviewWorld

TWO = {"a.csv": b"1\n", "b.csv": b"2\n"}
API = "/api/v1/airlock"


def _comment(place: ReviewWorld, request) -> None:
    url = f"{API}/requests/{request.id}/comments"
    sent = place.client().post(url, json={"text": "Secret doubt."}, headers=place.world.headers("rita"))
    assert sent.status_code == 201


HISTORIES: dict[str, Callable[[ReviewWorld, object], object]] = {
    "nothing": lambda *_: None,
    "a comment": _comment,
    "one file": lambda place, request: place.decide("rita", request, "approve", "a.csv"),
    "all approved": lambda place, request: place.decide("rita", request, "approve"),
    "all rejected": lambda place, request: place.decide("rita", request, "reject", comment="Secret."),
    "changes, revised": lambda place, request: (
        place.decide("rita", request, "changes_requested", comment="Secret."),
        place.decide("rita", request, "reject", comment="Worse."),
    ),
}


def masked(text: str) -> str:
    """Take out what differs between any two answers: CSRF tokens, request ids, the clock of the page's foot."""
    text = re.sub(r'(name="csrf[_-]token" (?:value|content)=")[0-9a-f]{64}', r"\1", text)
    text = re.sub(r'<footer class="foot">.*?</footer>', "", text, flags=re.DOTALL)
    return re.sub(r"[0-7][0-9A-HJKMNP-TV-Z]{25}(?=\"</p>)", "", text)


def everything(place: ReviewWorld, request, handle: str) -> dict[str, tuple[object, ...]]:
    browser, _ = place.browser(handle)
    pages = {
        path: browser.get(path, follow_redirects=False)
        for path in (
            "/airlock",
            f"/airlock/requests/{request.id}",
            f"/airlock/requests/{request.id}/state",
            "/airlock/review",
            f"/airlock/review/{request.id}",
            f"/airlock/requests/{request.id}/receipt",
            f"/airlock/fragment?project={place.world.project.id}",
        )
    }
    client, headers = place.client(), place.world.headers(handle)
    pages |= {
        path: client.get(path, headers=headers)
        for path in (
            f"{API}/queue",
            f"{API}/requests",
            f"{API}/requests/{request.id}",
            f"{API}/requests/{request.id}/review",
            f"{API}/requests/{request.id}/receipt",
        )
    }
    pages["decide"] = browser.post(f"/airlock/review/{request.id}/files/{place.files(request)[0].id}/decide")
    kept = ("etag", "last-modified", "content-length", "content-type", "location")
    return {
        path: (
            answer.status_code,
            masked(answer.text),
            [(name, answer.headers.get(name)) for name in kept],
        )
        for path, answer in pages.items()
    }


@pytest.mark.parametrize("reader", ["ruth", "robin", "ravi", "sam"])
def test_nothing_that_anybody_else_sees_tells_what_the_first_reviewer_did(place: ReviewWorld, reader: str):
    """One request goes through the histories one after the other; each is a change only reviewer 1 may notice."""
    request = place.in_review(TWO)
    before = everything(place, request, reader)
    assert before[f"{API}/requests"][0] == 200
    own = everything(place, request, "rita")
    for name, history in HISTORIES.items():
        history(place, request)
        assert everything(place, request, reader) == before, name
    assert everything(place, request, "rita") != own  # the masking leaves something to compare


def test_a_second_reviewer_at_work_sees_the_same_whatever_the_first_did(place: ReviewWorld):
    request = place.in_review(TWO)
    place.decide("ravi", request, "approve", "a.csv")
    before = everything(place, request, "ravi")
    for name, history in HISTORIES.items():
        history(place, request)
        assert everything(place, request, "ravi") == before, name


@pytest.mark.parametrize("reader", ["ruth", "ravi"])
def test_the_reveal_shows_labels_and_comments_and_never_names(place: ReviewWorld, reader: str):
    request = place.in_review(TWO)
    place.decide("rita", request, "reject", comment="Row four is one person.")
    _comment(place, request)
    hidden = everything(place, request, reader)
    place.decide("ravi", request, "approve")
    shown = everything(place, request, reader)
    page = shown[f"/airlock/requests/{request.id}"][1]
    assert "Row four is one person." in page
    assert "Secret doubt." in page
    assert "Row four" not in hidden[f"/airlock/requests/{request.id}"][1]
    assert "Reviewer A" in page
    assert "Rita" not in page
    assert place.world.people["rita"].id not in str(shown)


def test_the_review_page_takes_decisions_and_says_what_is_wrong_beside_the_field(place: ReviewWorld):
    request = place.in_review()
    file = place.files(request)[0]
    browser, csrf = place.browser("rita")
    url = f"/airlock/review/{request.id}/files/{file.id}/decide"
    form = {"csrf_token": csrf, "sha256": file.sha256, "turn": "1", "decision": "reject", "comment": ""}
    refused = browser.post(url, data=form)
    assert refused.status_code == 422
    assert "Say why in the comment" in refused.text
    assert re.search(r'value="reject"[^>]* checked', refused.text)
    stale = browser.post(url, data=form | {"sha256": "0" * 64, "comment": "kept text"})
    assert stale.status_code == 409
    assert "kept text" in stale.text
    assert place.decisions() == []
    done = browser.post(url, data=form | {"comment": "Too small."}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, f"/airlock/review/{request.id}")
    assert "You: Rejected" in browser.get(f"/airlock/review/{request.id}").text
    assert browser.post(url, data=form | {"csrf_token": "x"}).status_code == 403


def test_view_works_without_scripts_and_never_gives_the_csrf_token_away(place: ReviewWorld):
    request = place.in_review()
    file = place.files(request)[0]
    browser, csrf = place.browser("rita")
    form = {"csrf_token": csrf, "sha256": file.sha256, "turn": "1", "page": "2"}
    page = browser.post(f"/airlock/review/{request.id}/files/{file.id}/view", data=form).text
    shown = re.search(r'<form method="post" action="http://viewer[^"]*" target="viewer">(.*?)</form>', page)
    assert shown is not None
    assert csrf not in shown.group(1)
    token = re.search(r'name="ticket" value="([^"]+)"', shown.group(1))
    assert token is not None
    assert "part 2" in place.viewer().post("/view", data={"ticket": token.group(1), "page": "2"}).text


def test_the_request_page_offers_downloads_and_imports(place: ReviewWorld):
    request = place.released()
    browser, _ = place.browser("ruth")
    page = browser.get(f"/airlock/requests/{request.id}").text
    assert f'action="/airlock/requests/{request.id}/files/{place.files(request)[0].id}/download"' in page
    assert f"/airlock/requests/{request.id}/receipt" in page
    reviewer, _ = place.browser("rita")
    assert "/download" not in reviewer.get(f"/airlock/requests/{request.id}").text


def test_the_queue_counts_in_the_navigation_for_reviewers_alone(place: ReviewWorld):
    place.in_review()
    rita, _ = place.browser("rita")
    assert re.search(r'Review <span class="count">1</span>', rita.get("/airlock/review").text)
    ruth, _ = place.browser("ruth")
    assert "/airlock/review" not in ruth.get("/airlock").text
    assert ruth.get("/airlock/review").status_code == 403


def test_the_fragment_is_for_members(place: ReviewWorld):
    place.in_review()
    url = f"/airlock/fragment?project={place.world.project.id}"
    ruth, _ = place.browser("ruth")
    assert "1 under way" in ruth.get(url).text
    sam, _ = place.browser("sam")
    assert sam.get(url).status_code == 404
