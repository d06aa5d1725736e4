"""Pages of administration, data stewardship and data ownership."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from broch_core.clock import utc_now
from support.running import RunningBroch
from support.sizes import TABLE

from .conftest import SignIn
from .pages import add_person, add_project


def test_the_audit_log_is_filtered_and_verified(
    sign_in: SignIn, broch: RunningBroch, picture: Callable[[Page, str], None]
) -> None:
    add_person(broch, "Livia Corti")
    add_project(broch, "Paper trail", ["Livia Corti"])
    sunniva = sign_in("Sunniva Rao")
    sunniva.get_by_role("navigation").get_by_role("link", name="Audit").click()
    sunniva.get_by_label("Project").fill("paper-trail")
    sunniva.get_by_role("button", name="Filter").click()
    records = sunniva.get_by_role("table", name="Records").locator("tbody").get_by_role("row")
    expect(records).to_have_count(3)  # created, a member added, activated
    for action in ("project.create", "member.add", "project.activate"):
        expect(records.filter(has_text=re.compile(action.replace(".", "[.:]")))).to_have_count(1)
    for row in records.all():
        expect(row).to_contain_text("sunniva")

    sunniva.get_by_label("Who").fill("nobody-of-this-name")
    sunniva.get_by_role("button", name="Filter").click()
    expect(sunniva.get_by_text("No record fits this filter.")).to_be_visible()
    sunniva.goto(f"{broch.shell}/audit")
    sunniva.get_by_role("button", name="Verify now").click()
    expect(sunniva.get_by_text("The history is as it was signed")).to_be_visible()
    picture(sunniva, "audit")
    with sunniva.expect_download() as coming:
        sunniva.get_by_role("link", name="Export as JSON lines").click()
    lines = Path(coming.value.path()).read_text().splitlines()
    assert len(lines) > 3


def test_status_says_how_every_part_is_and_people_can_be_added(sign_in: SignIn, broch: RunningBroch) -> None:
    sunniva = sign_in("Sunniva Rao")
    sunniva.get_by_role("navigation").get_by_role("link", name="Status").click()
    parts = sunniva.get_by_role("table", name="Parts").locator("tbody").get_by_role("row")
    assert parts.count() >= 4
    expect(parts.filter(has_text=re.compile("Down"))).to_have_count(0)
    sunniva.get_by_role("navigation").get_by_role("link", name="People").click()
    sunniva.get_by_text("Add a person").click()
    sunniva.get_by_label("Name", exact=True).fill("Tove Ek")
    sunniva.get_by_label("Sign-in name").fill("ada")
    sunniva.get_by_role("button", name="Add person").click()
    expect(sunniva.get_by_role("alert")).to_be_visible()
    expect(sunniva.get_by_label("Name", exact=True)).to_have_value("Tove Ek")
    sunniva.get_by_label("Sign-in name").fill("tove-ek")
    sunniva.get_by_role("button", name="Add person").click()
    expect(sunniva.get_by_role("row", name=re.compile("Tove Ek"))).to_be_visible()
    tove = sign_in("Tove Ek")
    expect(tove.get_by_text("Nothing waits for you")).to_be_visible()
    for path in ("audit", "people", "projects/new"):
        answer = tove.goto(f"{broch.shell}/{path}")
        assert answer is not None
        assert answer.status in (403, 404), path


def test_data_go_from_steward_to_owner_to_project(  # noqa: PLR0915 (one way through six pages)
    sign_in: SignIn, broch: RunningBroch, picture: Callable[[Page, str], None]
) -> None:
    add_person(broch, "Noor Aziz")
    last_day = str(utc_now().date() + timedelta(days=20))
    mei = sign_in("Mei Fairweather")
    mei.get_by_role("navigation").get_by_role("link", name="Datasets").click()
    mei.get_by_role("link", name="New dataset").click()
    mei.get_by_label("Title").fill("River levels")
    mei.get_by_label("Folder name").fill("river levels")
    mei.get_by_label("Description").fill("Daily water levels at three gauges, metres above datum.")
    mei.get_by_label("Licence and terms").fill("CC BY 4.0")
    mei.get_by_label("Information asset owner").select_option(label="Idris Castellano")
    mei.get_by_role("button", name="Register dataset").click()
    expect(mei.get_by_label("Folder name")).to_have_attribute("aria-invalid", "true")
    mei.get_by_label("Folder name").fill("river-levels")
    mei.get_by_role("button", name="Register dataset").click()
    expect(mei.get_by_role("heading", name="River levels", level=1)).to_be_visible()
    mei.get_by_role("button", name="Open a new version").click()
    levels = [
        {"name": f"gauge_{n}.csv", "mimeType": "text/csv", "buffer": b"day,level\n1,2.5\n" * 10_000}
        for n in (1, 2, 3)
    ]
    mei.locator("#files").set_input_files(levels)
    files = mei.get_by_role("table", name="Files").locator("tbody").get_by_role("row")
    expect(files).to_have_count(3, timeout=30_000)
    picture(mei, "dataset")
    mei.get_by_role("button", name="Seal").first.click()
    mei.get_by_role("dialog").get_by_role("button", name="Seal").click()
    expect(mei.get_by_text("Sealed").first).to_be_visible()
    expect(mei.locator("#files")).to_have_count(0)
    expect(mei.get_by_role("button", name=re.compile("^Remove"))).to_have_count(0)

    sunniva = sign_in("Sunniva Rao")
    sunniva.goto(f"{broch.shell}/projects")
    sunniva.get_by_role("link", name="New project").click()
    sunniva.get_by_label("Name", exact=True).fill("High water")
    sunniva.get_by_label("Short name").fill("high-water")
    sunniva.get_by_label("Purpose").fill("When does the river reach the meadow?")
    sunniva.get_by_label("Last day").fill(last_day)
    sunniva.get_by_role("button", name="Create project").click()
    expect(sunniva.get_by_role("heading", name="High water", level=1)).to_be_visible()
    sunniva.get_by_label("Sign-in name").fill("noor-aziz")
    sunniva.get_by_role("button", name="Add member").click()
    expect(
        sunniva.get_by_role("table", name="Members").get_by_role("row", name=re.compile("Noor Aziz"))
    ).to_be_visible()
    sunniva.get_by_role("button", name="Activate").click()
    expect(sunniva.get_by_role("button", name="Freeze").first).to_be_visible()

    idris = sign_in("Idris Castellano")
    idris.goto(f"{broch.shell}/datasets")
    idris.get_by_role("link", name="River levels").click()
    idris.get_by_text("Grant it to a project").click()
    idris.get_by_label("Project", exact=True).select_option(label=f"High water, until {last_day}")
    idris.get_by_label("Last day").fill(last_day)
    idris.get_by_role("button", name="Grant", exact=True).click()
    expect(
        idris.get_by_role("table", name="Grants").get_by_role("row", name=re.compile("High water"))
    ).to_contain_text("Active")
    idris.get_by_label("Let a member submit results").select_option(label="Noor Aziz, High water")
    idris.get_by_role("button", name="Give permission").click()
    expect(
        idris.get_by_role("table", name="Permissions to export").get_by_role(
            "row", name=re.compile("Noor Aziz")
        )
    ).to_contain_text("May submit")

    noor = sign_in("Noor Aziz")
    noor.get_by_role("link", name="Open project").click()
    expect(noor.get_by_role("table", name="Grants")).to_contain_text("River levels")
    expect(noor.get_by_role("button", name="Open workspace")).to_be_visible()


def test_pages_write_sizes_as_the_server_does(sign_in: SignIn) -> None:
    page = sign_in("Sunniva Rao")
    assert page.evaluate("counts => counts.map(window.broch.size)", list(TABLE)) == list(TABLE.values())
