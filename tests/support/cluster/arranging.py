"""What administrators, stewards and owners arrange before a researcher begins, by the API in their own sessions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from broch.demo.datasets import DATASETS
from broch.demo.notebooks import first_look_bytes
from broch.demo.people import PROJECTS
from broch_core.clock import utc_now
from support.cluster.browsing import Desk, call, eventually_called

TEXTURE = next(project for project in PROJECTS if project.slug == "tumour-texture")


def person_id(page: Page) -> str:
    """Return the id of the person whose page it is."""
    return str(call(page, "GET", "/api/v1/sessions/current")["person"]["id"])


def register_data(desk: Desk, folder: Path) -> dict[str, tuple[str, str]]:
    """Register the demo's open datasets as a steward does; return slug -> (dataset, version)."""
    steward, made = desk.page("stella"), {}
    desk.page("idris")
    for dataset in DATASETS:
        body = {"slug": dataset.slug, "title": dataset.title, "owner": "idris", "licence": dataset.licence}
        row = call(steward, "POST", "/api/v1/datasets", body)
        version = call(steward, "POST", f"/api/v1/datasets/{row['id']}/versions")
        dataset.build(folder / dataset.slug)
        for path in sorted((folder / dataset.slug).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder / dataset.slug)
                call(
                    steward,
                    "PUT",
                    f"/api/v1/dataset-versions/{version['id']}/files/{name}",
                    raw=path.read_bytes(),
                )
        call(steward, "POST", f"/api/v1/dataset-versions/{version['id']}/seal")
        made[dataset.slug] = (row["id"], version["id"])
    return made


def approve_project(desk: Desk, data: dict[str, tuple[str, str]]) -> str:
    """Make Ada's project, with data that their owner grants; return its id."""
    admin, today = desk.page("mona"), utc_now().date()
    ends = str(today + timedelta(days=90))
    body = {"slug": TEXTURE.slug, "name": TEXTURE.name, "purpose": TEXTURE.purpose, "starts_on": str(today), "ends_on": ends}  # fmt: skip
    project = str(call(admin, "POST", "/api/v1/projects", body)["id"])
    ada = person_id(desk.page("ada"))
    call(admin, "POST", f"/api/v1/projects/{project}/members", {"handle": "ada", "role": "lead"})
    call(admin, "POST", f"/api/v1/projects/{project}/activate")
    owner = desk.page("idris")
    for dataset, version in data.values():
        here = f"/api/v1/datasets/{dataset}"
        call(owner, "POST", f"{here}/grants", {"project_id": project, "version_id": version, "until": ends})
        call(owner, "POST", f"{here}/export-permissions", {"project_id": project, "person_id": ada})
    return project


def bring_in(desk: Desk, author: Page, project: str, name: str, content: bytes) -> str:
    """Bring a file in: checked by real pods and clamd, approved by two, placed by the zone's importer."""
    purpose = "The notebook of our first look"
    made = call(author, "POST", "/api/v1/airlock/requests", {"project_id": project, "purpose": purpose})
    here = f"/api/v1/airlock/requests/{made['id']}"
    call(author, "PUT", f"{here}/files/{name}", raw=content)
    files = [
        {"file_id": file["id"], "sha256": file["sha256"]} for file in call(author, "GET", here)["file_list"]
    ]
    call(
        author,
        "POST",
        f"{here}/submit",
        {"purpose": purpose, "description": "Our own notebook.", "files": files},
    )
    eventually_called(author, here, {"status": "in_review"}, seconds=240)
    for reviewer in ("ruth", "tomasz"):
        page = desk.page(reviewer)
        review = call(page, "GET", f"{here}/review")
        for file in review["files"]:
            opinion: dict[str, Any] = {"opinion": "approve", "sha256": file["sha256"], "turn": review["turn"], "comment": ""}  # fmt: skip
            call(page, "POST", f"{here}/files/{file['id']}/decisions", opinion)
    eventually_called(author, here, {"status": "released"}, seconds=240)
    return str(made["id"])


def arranged(desk: Desk, folder: Path) -> str:
    """Arrange Ada's project: its data granted, its notebook brought in; return its id.

    Args:
        desk: where people sign in.
        folder: for the datasets on their way.
    """
    data = register_data(desk, folder)
    project = approve_project(desk, data)
    bring_in(desk, desk.page("ada"), project, "first_look.ipynb", first_look_bytes(TEXTURE))
    return project
