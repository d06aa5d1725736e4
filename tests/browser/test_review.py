"""The review by keyboard, blind until both have decided; changes, and a third look at what changed only."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Locator, Page, expect

from support.running import RunningBroch, client

from .conftest import SignIn
from .pages import (
    CHECKS_MS,
    add_person,
    add_project,
    await_status,
    decide,
    let_export,
    put_in_zone,
    said,
    submit_ingress,
)

TABLE = b"group,people,mean\nyounger,120,4.2\nolder,95,5.1\n"
NOTES = b"# Method\n\nMeans over at least ten people.\n"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FILES = {"means.csv": TABLE, "method.md": NOTES, "plot.png": PIXEL}


def review_item(page: Page, name: str) -> Locator:
    return page.get_by_role("list", name="Files").locator("> li").filter(has_text=name)


def test_a_reviewer_decides_by_keyboard_alone(sign_in: SignIn, broch: RunningBroch) -> None:
    add_person(broch, "Hana Sato")
    project_id = add_project(broch, "Keys only", ["Hana Sato"])
    request_id = submit_ingress(broch, "Hana Sato", project_id, FILES, "Means by age")
    ruth = sign_in("Ruth Wanjiru")
    ruth.goto(f"{broch.shell}/airlock/review/{request_id}")
    keys = ruth.keyboard

    keys.press("j")
    expect(review_item(ruth, "means.csv")).to_be_focused()
    keys.press("v")
    viewer = ruth.frame_locator("iframe[name=viewer]")
    expect(viewer.get_by_role("table").first).to_contain_text("younger")
    keys.press("a")
    keys.press("s")
    expect(ruth.get_by_text("Your decision on means.csv is recorded.")).to_be_visible()

    keys.press("j")
    keys.press("j")
    expect(review_item(ruth, "method.md")).to_be_focused()
    keys.press("c")
    keys.press("s")
    item = review_item(ruth, "method.md")
    comment = item.get_by_label("Comment")
    expect(comment).to_have_attribute("aria-invalid", "true")
    expect(comment).to_have_accessible_description(re.compile("Say why"))
    expect(item.get_by_role("radio", name="Changes")).to_be_checked()
    comment.focus()
    keys.type("Which test was used? jk are words here, not keys.")
    keys.press("Tab")
    keys.press("Enter")
    expect(item.get_by_text("You: Changes requested")).to_be_visible()
    keys.press("?")
    expect(ruth.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(ruth.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()

    # One has decided on two of three: nobody else knows.
    tomasz = sign_in("Tomasz Haddad")
    tomasz.goto(f"{broch.shell}/airlock/review/{request_id}")
    expect(tomasz.get_by_text("Which test was used?")).to_have_count(0)
    expect(tomasz.get_by_text("Reviewer A")).to_have_count(0)


def test_reviewers_who_do_not_agree_see_each_other_and_nobody_saw_the_first_one_alone(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    add_person(broch, "Sol Vega")
    project_id = add_project(broch, "Two minds", ["Sol Vega"])
    request_id = submit_ingress(broch, "Sol Vega", project_id, {"means.csv": TABLE}, "One file, two minds")
    sol = sign_in("Sol Vega")
    sol.goto(f"{broch.shell}/airlock/requests/{request_id}")
    before = sol.get_by_role("main").inner_text()

    ruth = sign_in("Ruth Wanjiru")
    ruth.goto(f"{broch.shell}/airlock/review/{request_id}")
    item = review_item(ruth, "means.csv")
    item.get_by_role("radio", name="Reject").check()
    item.get_by_label("Comment").fill("Where does it come from?")
    item.get_by_role("button", name="Record decision").click()
    expect(ruth.get_by_text("You: Reject")).to_be_visible()
    expect(ruth.get_by_text("Two reviewers decide on their own")).to_be_visible()
    sol.reload()
    assert sol.get_by_role("main").inner_text() == before

    tomasz = sign_in("Tomasz Haddad")
    tomasz.goto(f"{broch.shell}/airlock/review/{request_id}")
    expect(tomasz.get_by_text("Where does it come from?")).to_have_count(0)
    item = review_item(tomasz, "means.csv")
    item.get_by_role("radio", name="Approve").check()
    item.get_by_role("button", name="Record decision").click()
    expect(tomasz.get_by_text("The reviewers do not agree")).to_be_visible()
    expect(tomasz.get_by_text("Where does it come from?")).to_be_visible()
    ruth.reload()
    expect(ruth.get_by_text("The reviewers do not agree")).to_be_visible()
    expect(review_item(ruth, "means.csv").get_by_text("Approve", exact=True).last).to_be_visible()

    # Both have decided on everything, so the author may read what they said, and still not who they are.
    sol.reload()
    expect(sol.get_by_text("In review").first).to_be_visible()
    expect(sol.get_by_text("Where does it come from?")).to_be_visible()
    for name in ("Ruth", "Tomasz"):
        expect(sol.get_by_role("main")).not_to_contain_text(name)
    expect(sol.get_by_role("button", name="Download")).to_have_count(0)

    # A reviewer who thinks again ends it.
    item = review_item(ruth, "means.csv")
    item.get_by_role("radio", name="Approve").check()
    item.get_by_role("button", name="Change decision").click()
    with client(broch, "sol-vega") as api:
        await_status(api, request_id, "released")


def pick(
    page: Page, broch: RunningBroch, project_id: str, *names: str, request_id: str | None = None
) -> None:
    """Choose files of the project's folder, from the list of the airlock or from a request."""
    if request_id is None:
        page.goto(f"{broch.shell}/airlock/zones/{project_id}")
    else:
        page.goto(f"{broch.shell}/airlock/requests/{request_id}")
        page.get_by_role("link", name="Choose from the project's folder").click()
    for name in names:
        page.get_by_label(f"Choose {name}").check()
    page.get_by_role("button", name="Add to the request" if request_id else "Make a draft").click()
    expect(page.get_by_role("heading", name="Confirm and submit")).to_be_visible()


def submit(page: Page, purpose: str | None = None) -> None:
    """Confirm and submit what is on the page."""
    if purpose:
        page.get_by_label("Purpose").fill(purpose)
    page.get_by_label("I have looked at each file").check()
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("In review").first).to_be_visible(timeout=CHECKS_MS)


def test_after_changes_only_the_changed_file_is_decided_again(
    sign_in: SignIn, broch: RunningBroch, picture: Callable[[Page, str], None]
) -> None:
    person = add_person(broch, "Amina Farah")
    project_id = add_project(broch, "Kidney stones", ["Amina Farah"])
    let_export(broch, project_id, person)
    for name, content in {"means.csv": TABLE, "method.md": NOTES}.items():
        put_in_zone(broch, f"{project_id}/project", name, content)
    amina = sign_in("Amina Farah")
    pick(amina, broch, project_id, "means.csv", "method.md")
    submit(amina, "Mean stone size by age group")
    request_id = amina.url.rsplit("/", 1)[1]

    for reviewer in ("ruth", "tomasz"):
        decide(broch, reviewer, request_id, names=["method.md"])
        decide(broch, reviewer, request_id, "changes_requested", "Round to one decimal.", names=["means.csv"])
    amina.reload()
    expect(amina.get_by_text("Returned").first).to_be_visible()
    expect(amina.get_by_text("Round to one decimal.").first).to_be_visible()
    expect(amina.get_by_text("Ruth Wanjiru")).to_have_count(0)

    put_in_zone(broch, f"{project_id}/project", "means.csv", TABLE.replace(b"4.2", b"4.0"))
    pick(amina, broch, project_id, "means.csv", request_id=request_id)
    submit(amina)

    ruth = sign_in("Ruth Wanjiru")
    ruth.goto(f"{broch.shell}/airlock/review/{request_id}")
    changed, kept = review_item(ruth, "means.csv"), review_item(ruth, "method.md")
    expect(kept.get_by_text("You: Approve")).to_be_visible()
    expect(changed.get_by_text(re.compile("^You:"))).to_have_count(0)
    changed.get_by_role("button", name="View").click()
    viewer = ruth.frame_locator("iframe[name=viewer]")
    expect(viewer.get_by_role("table").first).to_contain_text("younger")
    picture(ruth, "review")
    changed.get_by_role("radio", name="Approve").check()
    changed.get_by_role("button", name="Record decision").click()
    expect(ruth.get_by_text("Your decision on means.csv is recorded.")).to_be_visible()
    decide(broch, "tomasz", request_id, names=["means.csv"])
    with client(broch, "amina-farah") as api:
        request = await_status(api, request_id, "released")
    assert request["turn"] == 2


def test_the_viewer_shows_inert_documents_and_a_ticket_once(sign_in: SignIn, broch: RunningBroch) -> None:
    add_person(broch, "Rosa Lind")
    project_id = add_project(broch, "Plain sight", ["Rosa Lind"])
    hostile = b"name\n<img src=x onerror=alert(1)><script>document.title='run'</script>\n"
    request_id = submit_ingress(
        broch, "Rosa Lind", project_id, {**FILES, "hostile.csv": hostile}, "Things to look at"
    )
    ruth = sign_in("Ruth Wanjiru")
    posted: list[str] = []
    ruth.on(
        "request",
        lambda request: (
            request.method == "POST" and request.url.endswith("/view") and posted.append(request.url)
        ),
    )
    ruth.goto(f"{broch.shell}/airlock/review/{request_id}")
    viewer = ruth.frame_locator("iframe[name=viewer]")
    for name, shown in (
        ("means.csv", viewer.get_by_role("cell", name="younger").first),
        ("method.md", viewer.get_by_text("Means over at least ten people.")),
        ("plot.png", viewer.get_by_role("img").first),
        ("hostile.csv", viewer.get_by_text("onerror=alert(1)").first),
    ):
        review_item(ruth, name).get_by_role("button", name="View").click()
        expect(shown).to_be_visible()
        frame = ruth.frame(name="viewer")
        assert frame is not None
        source = frame.content()
        assert "<script" not in source.replace("&lt;script", "")
        assert not re.search(r"<[^>]+\son\w+=", source)
    assert posted
    (origin,) = {url.rsplit("/", 1)[0] for url in posted}
    assert origin != broch.shell
    assert ruth.context.cookies(f"{origin}/") == []

    with client(broch, "ruth") as api:
        files = {
            file["name"]: file
            for file in said(api.get(f"/api/v1/airlock/requests/{request_id}/review"))["files"]
        }
        ticket = said(
            api.post(
                f"/api/v1/airlock/requests/{request_id}/files/{files['means.csv']['id']}/views",
                json={"sha256": files["means.csv"]["sha256"], "turn": 1},
            )
        )
    first, again = (use_ticket(broch, ticket) for _ in range(2))
    assert first.status_code == 200
    assert "younger" in first.text
    assert again.status_code in (403, 404, 409, 410)
    assert "younger" not in again.text
    for answer in (first, again):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox" in policy
        assert "set-cookie" not in answer.headers
        assert "<script" not in answer.text


def use_ticket(broch: RunningBroch, ticket: dict[str, str]) -> httpx.Response:
    """Post a ticket as the frame would; only browsers resolve names below localhost."""
    target = urlsplit(ticket["target"])
    return httpx.post(
        f"{broch.api}{target.path}",
        data={"ticket": ticket["ticket"], "page": "1"},
        headers={"Host": target.netloc},
        trust_env=False,
        timeout=60,  # the page is rendered in a sandbox of its own
    )
