"""The whole way, through the doors that people use: notebook, draft, two blind decisions, download, proof."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import FrameLocator, Page, expect

from support.running import RunningBroch

from .conftest import SignIn

LAB_SECONDS = 90_000
NOTEBOOK_SECONDS = 180_000
CHECKS_SECONDS = 60_000


def open_workspace(page: Page) -> FrameLocator:
    """Open Ada's workspace from her project page; return Lab in its frame."""
    page.get_by_role("navigation").get_by_role("link", name="Projects").click()
    page.get_by_role("link", name="Tumour texture").first.click()
    page.get_by_role("button", name="Open workspace").click()
    lab = page.frame_locator("iframe")
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=LAB_SECONDS)
    return lab


def run_notebook(lab: FrameLocator) -> None:
    """Open the worked notebook and run it from top to bottom; its last cell submits."""
    lab.get_by_role("listitem", name=re.compile("first_look")).dblclick()
    expect(lab.get_by_role("tab", name=re.compile("first_look"))).to_be_visible()
    expect(lab.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=LAB_SECONDS)
    lab.get_by_role("menuitem", name="Run").click()
    lab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = lab.locator(".jp-OutputArea-output").filter(has_text="Nothing has left yet")
    expect(last).to_be_visible(timeout=NOTEBOOK_SECONDS)


def approve_every_file(page: Page) -> None:
    """Go from the start page to the request, look at each file, approve it."""
    page.get_by_role("navigation").get_by_role("link", name=re.compile("Review")).click()
    page.get_by_role("link", name=re.compile("Coefficients|texture|results", re.IGNORECASE)).first.click()
    files = (
        page.get_by_role("list", name="Files")
        .get_by_role("listitem")
        .filter(has=page.get_by_role("button", name="View"))
    )
    for number in range(files.count()):
        file = files.nth(number)
        file.get_by_role("button", name="View").click()
        expect(page.frame_locator("iframe[name=viewer]").locator("body")).to_contain_text(
            re.compile("sha256|table|plot", re.IGNORECASE)
        )
        file.get_by_role("radio", name="Approve").check()
        file.get_by_role("button", name=re.compile("Record decision")).click()
        expect(page.get_by_text("You: Approve").nth(number)).to_be_visible()


def verify(folder: Path, receipt: str, *files: str) -> subprocess.CompletedProcess[str]:
    """Run `broch verify` as anybody could, without a server."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "broch.cli.main", "verify", "--trust", "trust.json", receipt, *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def save(page: Page, what: Callable[[], None], folder: Path, name: str) -> Path:
    """Click something that downloads, and keep what comes under `name`."""
    with page.expect_download() as coming:
        what()
    coming.value.save_as(folder / name)
    return folder / name


def test_a_result_goes_out_by_two_blind_decisions_with_a_proof(
    sign_in: SignIn, broch: RunningBroch, picture: Callable[[Page, str], None], tmp_path: Path
) -> None:
    ada = sign_in("Ada Lindqvist")
    picture(ada, "start")
    lab = open_workspace(ada)
    run_notebook(lab)
    picture(ada, "workspace")

    ada.goto(f"{broch.shell}/airlock")
    picture(ada, "airlock")
    ada.get_by_role("row", name=re.compile("Draft")).get_by_role("link").first.click()
    request_page = ada.url
    expect(ada.get_by_text("table.csv").first).to_be_visible()
    expect(ada.get_by_text("plot.png").first).to_be_visible()
    ada.get_by_label("Description").fill("Coefficients and rounded counts; no group below ten people.")
    ada.get_by_label("I have looked at each file").check()
    picture(ada, "confirm")
    ada.get_by_role("button", name="Submit", exact=True).click()
    expect(ada.get_by_text("In review").first).to_be_visible(timeout=CHECKS_SECONDS)
    expect(ada.get_by_role("button", name="Download")).to_have_count(0)

    ruth = sign_in("Ruth Wanjiru")
    approve_every_file(ruth)
    ada.reload()
    expect(ada.get_by_text("In review").first).to_be_visible()
    expect(ada.get_by_role("button", name="Download")).to_have_count(0)

    tomasz = sign_in("Tomasz Haddad")
    approve_every_file(tomasz)

    ada.goto(request_page)
    expect(ada.get_by_role("heading", name="Released files")).to_be_visible(timeout=CHECKS_SECONDS)
    picture(ada, "released")
    rows = ada.get_by_role("table", name="Released files").get_by_role("row")
    save(
        ada,
        rows.filter(has_text="table.csv").get_by_role("button", name="Download").click,
        tmp_path,
        "table.csv",
    )
    save(
        ada,
        rows.filter(has_text="plot.png").get_by_role("button", name="Download").click,
        tmp_path,
        "plot.png",
    )
    save(ada, ada.get_by_role("link", name="Save the receipt").click, tmp_path, "receipt.json")
    save(ada, ada.get_by_role("link", name="Save the public keys").click, tmp_path, "trust.json")

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    said = verify(tmp_path, "receipt.json", "table.csv", "plot.png")
    assert said.returncode == 0, said.stdout + said.stderr

    table = bytearray((tmp_path / "table.csv").read_bytes())
    table[len(table) // 2] ^= 1
    (tmp_path / "table.csv").write_bytes(table)
    said = verify(tmp_path, "receipt.json", "table.csv", "plot.png")
    assert said.returncode == 1, said.stdout + said.stderr
    assert "table.csv" in said.stdout
    assert "differ" in said.stdout
    assert json.loads((tmp_path / "receipt.json").read_text())
