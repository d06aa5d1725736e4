"""What one person must not see of another's, through the pages."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from support.running import RunningBroch

from .conftest import SignIn
from .pages import add_person, add_project, put_in_zone, submit_ingress


def status_of(page: Page, address: str) -> int:
    """Open a page; return its status."""
    answer = page.goto(address)
    assert answer is not None
    return answer.status


def test_nothing_of_another_project_is_there(sign_in: SignIn, broch: RunningBroch) -> None:
    add_person(broch, "Greta Holm")
    project_id = add_project(broch, "Closed doors", ["Greta Holm"])
    put_in_zone(broch, f"{project_id}/project", "secret.csv", b"a\n1\n")
    request_id = submit_ingress(broch, "Greta Holm", project_id, {"codes.csv": b"a\n1\n"}, "Closed purpose")
    addresses = [
        f"{broch.shell}/{path}"
        for path in (
            f"projects/{project_id}",
            f"projects/{project_id}/workspace",
            f"airlock/zones/{project_id}",
            f"airlock/requests/{request_id}",
            f"airlock/requests/{request_id}/receipt",
        )
    ]
    greta = sign_in("Greta Holm")
    assert [status_of(greta, address) for address in addresses[:4]] == [200] * 4

    mateo = sign_in("Mateo Okonkwo")
    for address in [*addresses, f"{broch.shell}/airlock/review/{request_id}"]:
        assert status_of(mateo, address) == 404, address
        words = mateo.get_by_role("main").inner_text()
        assert "Closed" not in words, address
        # It reads like an address that never was.
        assert status_of(mateo, re.sub(r"[0-9A-Z]{26}", "0" * 26, address)) == 404
        unknown = mateo.get_by_role("main").inner_text()
        number = r"this number:\s*\S+"
        assert re.sub(number, "", unknown) == re.sub(number, "", words)
    for list_page in ("projects", "airlock", "workspaces", ""):
        mateo.goto(f"{broch.shell}/{list_page}")
        expect(mateo.get_by_role("main")).not_to_contain_text("Closed")


def test_a_reviewer_who_is_a_member_cannot_review(sign_in: SignIn, broch: RunningBroch) -> None:
    add_person(broch, "Bela Novak")
    add_person(broch, "Wim de Groot", "reviewer")
    project_id = add_project(broch, "Too near", ["Bela Novak", "Wim de Groot"])
    request_id = submit_ingress(
        broch, "Bela Novak", project_id, {"codes.csv": b"a\n1\n"}, "Near to the reviewer"
    )
    wim = sign_in("Wim de Groot")
    wim.goto(f"{broch.shell}/airlock/review")
    expect(wim.get_by_text("Near to the reviewer")).to_have_count(0)
    wim.goto(f"{broch.shell}/airlock/review/{request_id}")
    expect(wim.get_by_role("main")).to_contain_text("You are or were a member of this project")
    expect(wim.get_by_role("button", name="Record decision")).to_have_count(0)

    tomasz = sign_in("Tomasz Haddad")
    tomasz.goto(f"{broch.shell}/airlock/review")
    expect(tomasz.get_by_text("Near to the reviewer")).to_be_visible()
    tomasz.goto(f"{broch.shell}/airlock/review/{request_id}")
    expect(tomasz.get_by_role("button", name="Record decision")).to_be_visible()
