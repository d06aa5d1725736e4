"""Steps that several browser tests share. What a test is not about is arranged by the API; the rest goes by the page."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import FrameLocator, Locator, Page, expect

from broch_core.clock import utc_now
from support.running import RunningBroch, client

LAB_MS = 90_000
CHECKS_MS = 60_000
ADMIN = "sunniva"


def slug_of(name: str) -> str:
    """Return the short name of a person or project of these tests."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def said(answer: httpx.Response) -> Any:
    """Return the JSON of an answer that must be a success."""
    assert answer.is_success, answer.text
    return answer.json()


def add_person(broch: RunningBroch, name: str, *roles: str) -> str:
    """Let somebody new sign in; return their id."""
    body = {"handle": slug_of(name), "display_name": name, "roles": list(roles)}
    with client(broch, ADMIN) as admin:
        return str(said(admin.post("/api/v1/people", json=body))["id"])


def add_project(broch: RunningBroch, name: str, members: Iterable[str], *, active: bool = True) -> str:
    """Create a project without data for members, by name; return its id."""
    today = utc_now().date()
    body = {
        "slug": slug_of(name),
        "name": name,
        "purpose": "For a test.",
        "starts_on": str(today),
        "ends_on": str(today + timedelta(days=30)),
    }
    with client(broch, ADMIN) as admin:
        project_id = str(said(admin.post("/api/v1/projects", json=body))["id"])
        for member in members:
            said(admin.post(f"/api/v1/projects/{project_id}/members", json={"handle": slug_of(member)}))
        if active:
            said(admin.post(f"/api/v1/projects/{project_id}/activate"))
    return project_id


def let_export(broch: RunningBroch, project_id: str, person_id: str) -> None:
    """Grant the biopsy table to a project, and let a member of it submit results."""
    with client(broch, "idris") as owner:
        rows = said(owner.get("/api/v1/datasets"))["items"]
        dataset = next(row["id"] for row in rows if row["slug"] == "breast-cancer-wisconsin")
        here = f"/api/v1/datasets/{dataset}"
        version = said(owner.get(here))["versions"][0]["id"]
        until = str(utc_now().date() + timedelta(days=30))
        grant = {"project_id": project_id, "version_id": version, "until": until}
        said(owner.post(f"{here}/grants", json=grant))
        said(
            owner.post(f"{here}/export-permissions", json={"project_id": project_id, "person_id": person_id})
        )


def put_in_zone(broch: RunningBroch, folder: str, name: str, content: bytes) -> None:
    """Write a file where a workspace would have written it (`folder` below the zones), owned by its account."""
    zones = broch.folder / "zones"
    owner = zones.stat()
    path = zones
    for part in folder.split("/"):
        path /= part
        if not path.exists():
            path.mkdir(mode=0o700)
            os.chown(path, owner.st_uid, owner.st_gid)
    file = path / name
    file.write_bytes(content)
    file.chmod(0o600)
    os.chown(file, owner.st_uid, owner.st_gid)


def submit_ingress(
    broch: RunningBroch, author: str, project_id: str, files: Mapping[str, bytes], purpose: str
) -> str:
    """Bring files in by the API, wait for the checks; return the id of the request."""
    with client(broch, slug_of(author)) as api:
        made = said(api.post("/api/v1/airlock/requests", json={"project_id": project_id, "purpose": purpose}))
        here = f"/api/v1/airlock/requests/{made['id']}"
        for name, content in files.items():
            said(
                api.put(
                    f"{here}/files/{name}",
                    content=content,
                    headers={"Content-Type": "application/octet-stream"},
                )
            )
        confirmed = [
            {"file_id": file["id"], "sha256": file["sha256"]} for file in said(api.get(here))["file_list"]
        ]
        body = {"purpose": purpose, "description": "For a test.", "files": confirmed}
        said(api.post(f"{here}/submit", json=body))
        await_status(api, made["id"], "in_review", "quarantined")
    return str(made["id"])


def await_status(api: httpx.Client, request_id: str, *wanted: str, seconds: float = 60) -> Any:
    """Wait until a request has one of the states; return it."""
    deadline = time.monotonic() + seconds
    while True:
        request = said(api.get(f"/api/v1/airlock/requests/{request_id}"))
        if request["status"] in wanted:
            return request
        assert time.monotonic() < deadline, f"still {request['status']}: {request['message']}"
        time.sleep(0.2)


def decide(
    broch: RunningBroch,
    reviewer: str,
    request_id: str,
    opinion: str = "approve",
    comment: str = "",
    *,
    names: Sequence[str] = (),
) -> None:
    """Decide on every file of a request, or on those named, by the API."""
    with client(broch, reviewer) as api:
        review = said(api.get(f"/api/v1/airlock/requests/{request_id}/review"))
        for file in review["files"]:
            if names and file["name"] not in names:
                continue
            body = {
                "opinion": opinion,
                "sha256": file["sha256"],
                "turn": review["turn"],
                "comment": comment,
            }
            said(api.post(f"/api/v1/airlock/requests/{request_id}/files/{file['id']}/decisions", json=body))


def new_ingress_draft(page: Page, broch: RunningBroch, project: str, purpose: str) -> str:
    """Go from the airlock to a fresh draft, by the page; return its id."""
    page.goto(f"{broch.shell}/airlock")
    page.get_by_role("link", name="Bring files in").first.click()
    page.get_by_label("Project").select_option(label=project)
    page.get_by_label("Purpose").fill(purpose)
    page.get_by_role("button", name="Go on to the files").click()
    expect(page.get_by_text("Files to send")).to_be_visible()
    return page.url.rsplit("/", 1)[1]


def file_input(page: Page) -> Locator:
    """Return the control that takes files to send."""
    return page.get_by_role("button", name="Files to send")


def upload_row(page: Page, name: str) -> Locator:
    """Return the line that follows one file's upload."""
    return page.locator("li.upload").filter(has_text=name)


def send(page: Page, *files: Path) -> None:
    """Send files by the page, and wait until each has arrived."""
    file_input(page).set_input_files(list(files))
    for file in files:
        expect(upload_row(page, file.name)).to_contain_text("Arrived", timeout=30_000)
        expect(page.get_by_role("table", name="Files of this request").get_by_text(file.name)).to_be_visible()


def confirm_and_submit(page: Page, description: str) -> None:
    """Confirm what is there, and submit."""
    page.get_by_label("Description").fill(description)
    page.get_by_label("I have looked at each file").check()
    page.get_by_role("button", name="Submit", exact=True).click()


def open_workspace(page: Page, broch: RunningBroch, project_id: str) -> FrameLocator:
    """Open one's workspace from the page of a project; return Lab in its frame."""
    page.goto(f"{broch.shell}/projects/{project_id}")
    page.get_by_role("button", name="Open workspace").click()
    return await_lab(page)


def principal_running(broch: RunningBroch, person: str, project_id: str) -> str:
    """Have somebody's workspace in a project running, by the API; return its principal."""
    deadline = time.monotonic() + LAB_MS / 1000
    with client(broch, slug_of(person)) as api:
        view = said(api.post("/api/v1/workspaces", json={"project_id": project_id}))
        while view["status"] != "running":
            assert time.monotonic() < deadline, f"still {view['status']}"
            time.sleep(0.3)
            view = said(api.get(f"/api/v1/workspaces/{view['id']}"))
    return str(view["url"]).split("/user/")[1].split("/")[0]


def await_lab(page: Page) -> FrameLocator:
    """Wait for Lab in the frame of a workspace's page."""
    lab = page.frame_locator("iframe")
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=LAB_MS)
    expect(lab.get_by_role("listitem", name=re.compile("project")).first).to_be_visible(timeout=LAB_MS)
    return lab


def notebook(*cells: str) -> bytes:
    """Return a notebook with code cells."""
    import nbformat

    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    return nbformat.writes(made).encode()


def run_all(lab: FrameLocator, name: str) -> None:
    """Open a notebook of the home folder and run all its cells."""
    lab.get_by_role("listitem", name=re.compile(name)).dblclick()
    expect(lab.get_by_role("tab", name=re.compile(name))).to_be_visible()
    expect(lab.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=LAB_MS)
    lab.get_by_role("menuitem", name="Run").click()
    lab.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def stop_workspace(broch: RunningBroch, person: str) -> None:
    """Stop whatever workspaces somebody has, by the API."""
    with client(broch, slug_of(person)) as api:
        for row in said(api.get("/api/v1/workspaces"))["items"]:
            if row["status"] in ("starting", "running"):
                said(api.post(f"/api/v1/workspaces/{row['id']}/stop"))
