"""Pages of the intake: what they show, and that forms work without scripts."""

import re

import pytest

from broch_airlock.checks.model import Verdict
from broch_core.lifecycles import AirlockEvent
from broch_core.web.sessions import Sessions
from support.intake import BASE, Intake

HTML = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


def get(intake: Intake, path: str, handle: str = "ruth"):
    return intake.client.get(path, headers={**intake.of(handle), **HTML})


def post(intake: Intake, path: str, data: dict, handle: str = "ruth"):
    headers = {**intake.of(handle), **HTML}
    page = intake.client.get("/airlock", headers=headers).text
    token = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert token is not None
    return intake.client.post(
        path, data={"csrf_token": token[1], **data}, headers=headers, follow_redirects=False
    )


def seen(page: str) -> list[str]:
    return re.findall(r'name="seen" value="([^"]+)"', page)


def test_the_first_page_says_what_to_do(intake: Intake) -> None:
    page = get(intake, "/airlock")
    assert page.status_code == 200
    assert "Nothing has crossed yet" in page.text
    assert 'href="/airlock/new"' in page.text
    assert "You are in no project" in get(intake, "/airlock", "rita").text


def test_a_draft_is_made_filled_confirmed_and_followed(intake: Intake) -> None:
    made = post(intake, "/airlock/new", {"project_id": intake.world.project.id, "purpose": "Code"})
    assert made.status_code == 303
    url = made.headers["location"]
    draft = url.rsplit("/", 1)[1]
    page = get(intake, url).text
    assert f'data-upload="/api/v1/airlock/requests/{draft}/uploads"' in page
    assert "upload.js" in page
    intake.put(draft, "a.py", b"print()")
    page = get(intake, url).text
    assert len(seen(page)) == 1
    unlooked = post(intake, f"{url}/submit", {"purpose": "My code", "seen": seen(page)})
    assert unlooked.status_code == 422
    assert "Look at each file first" in unlooked.text
    assert 'value="My code"' in unlooked.text
    done = post(intake, f"{url}/submit", {"purpose": "My code", "seen": seen(page), "looked": "yes"})
    assert done.status_code == 303
    page = get(intake, url).text
    assert 'hx-trigger="every 2s"' in page
    assert "data-upload" not in page
    intake.outbox.run_due()
    state = get(intake, f"{url}/state")
    assert 'hx-trigger="every 2s"' not in state.text
    assert state.headers["hx-refresh"] == "true"
    assert "In review" in state.text
    assert "My code" in get(intake, "/airlock?status=in_review&direction=nonsense").text


def test_stale_files_are_said_on_the_page(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"one")
    url = f"/airlock/requests/{draft}"
    before = seen(get(intake, url).text)
    intake.put(draft, "a.py", b"two")
    answer = post(intake, f"{url}/submit", {"purpose": "x", "seen": before, "looked": "yes"})
    assert answer.status_code == 422
    assert "not those that you confirmed" in answer.text
    assert seen(answer.text) != before


def test_hostile_texts_stay_texts(intake: Intake) -> None:
    draft = intake.draft(purpose="<script>alert(1)</script>", description="<img src=x onerror=alert(1)>")
    intake.put(draft, "a&b'(1).py", b"x")
    page = get(intake, f"/airlock/requests/{draft}").text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "a&amp;b&#39;(1).py" in page


def test_findings_and_quarantine_are_shown(intake: Intake) -> None:
    intake.scan.verdict = Verdict.BLOCKED
    draft = intake.draft()
    intake.put(draft, "a.py", b"x")
    intake.submit(draft)
    intake.outbox.run_due()
    page = get(intake, f"/airlock/requests/{draft}").text
    assert "As told." in page
    assert "may not cross the boundary" in page


def test_a_returned_request_is_a_form_again(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"x")
    intake.submit(draft)
    intake.outbox.run_due()
    intake.move(draft, AirlockEvent.RETURN)
    page = get(intake, f"/airlock/requests/{draft}").text
    assert "Replace or add files" in page
    assert len(seen(page)) == 1
    assert "Remove this file" not in page


def test_comment_withdraw_and_remove_work_without_scripts(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"x")
    url = f"/airlock/requests/{draft}"
    file_id = intake.read(draft)["file_list"][0]["id"]
    assert post(intake, f"{url}/comments", {"text": ""}).status_code == 422
    assert post(intake, f"{url}/comments", {"text": "hello"}).status_code == 303
    assert "hello" in get(intake, url).text
    assert post(intake, f"{url}/files/{file_id}/remove", {}).status_code == 303
    assert post(intake, f"{url}/withdraw", {}).status_code == 303
    assert "Withdrawn" in get(intake, url).text


def test_somebody_elses_draft_is_read_only(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"x")
    page = get(intake, f"/airlock/requests/{draft}", "robin").text
    assert "data-upload" not in page
    assert "/submit" not in page
    assert get(intake, f"/airlock/requests/{draft}", "sam").status_code == 404
    assert post(intake, f"/airlock/requests/{draft}/submit", {"purpose": "x"}, "robin").status_code == 403


def test_an_egress_draft_without_permission_says_why(intake: Intake) -> None:
    draft = intake.egress(handle="robin")
    page = get(intake, f"/airlock/requests/{draft}", "robin").text
    assert "asset owner" in page
    assert f"/airlock/zones/{intake.world.project.id}?request_id={draft}" in page


def test_the_picker_works_as_a_form(intake: Intake) -> None:
    project_id = intake.world.project.id
    folder = intake.zones.project(project_id)
    (folder / "out").mkdir()
    (folder / "out" / "t.csv").write_bytes(b"t")
    (folder / "out" / "-rf").write_bytes(b"t")
    (folder / "out" / "\u202egpj.exe").write_bytes(b"t")
    url = f"/airlock/zones/{project_id}"
    assert "path=out" in get(intake, url).text
    page = get(intake, f"{url}?path=out").text
    assert 'value="out/t.csv"' in page
    assert "begins with a dash" in page
    assert "\\u{202E}gpj.exe" in page
    nothing = post(intake, url, {"area": "project", "path": "out"})
    assert nothing.status_code == 422
    assert "Choose at least one file" in nothing.text
    made = post(intake, url, {"area": "project", "path": "out", "paths": "out/t.csv"})
    assert made.status_code == 303
    draft = made.headers["location"].rsplit("/", 1)[1]
    added = post(intake, url, {"area": "project", "paths": "out/t.csv", "request_id": draft})
    assert added.headers["location"].endswith(draft)
    assert get(intake, url, "sam").status_code == 404
    assert post(intake, url, {"area": "project", "paths": "out/t.csv"}, "sam").status_code == 404


def test_a_form_without_its_token_is_refused(intake: Intake) -> None:
    draft = intake.draft()
    headers = {**intake.of("ruth"), **HTML}
    answer = intake.client.post(f"/airlock/requests/{draft}/withdraw", data={}, headers=headers)
    assert answer.status_code == 403
    cross = {**intake.of("ruth"), "Accept": "text/html", "Sec-Fetch-Site": "cross-site"}
    assert (
        intake.client.post(f"/airlock/requests/{draft}/withdraw", data={}, headers=cross).status_code == 403
    )


@pytest.mark.parametrize("path", ["/airlock", "/airlock/new"])
def test_pages_ask_strangers_to_sign_in(intake: Intake, path: str) -> None:
    assert Sessions is not None
    answer = intake.client.get(path, headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in")
    assert BASE.endswith(":8000")
