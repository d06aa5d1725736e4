"""The door and the picker: the two ways by which bytes leave a zone."""

import hashlib
import os
from datetime import timedelta

import pytest
from fastapi.routing import APIRoute
from sqlmodel import select

from broch_airlock.door.app import make_door_app
from broch_airlock.tables import AirlockRequest, ImportedName
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import AirlockStatus, ProjectStatus, WorkspaceStatus
from broch_core.settings import Settings
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership
from broch_core.tables.workspaces import Workspace
from support.intake import API, Intake

BYTES = {"Content-Type": "application/octet-stream"}


def test_a_notebook_makes_a_draft_of_its_person(intake: Intake) -> None:
    draft = intake.egress(b"a,b\n")
    view = intake.read(draft)
    assert (view["direction"], view["status"], view["author"], view["own"]) == (
        "egress",
        "draft",
        "Ruth",
        True,
    )
    assert view["file_list"][0]["sha256"] == hashlib.sha256(b"a,b\n").hexdigest()
    assert intake.scan.seen == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": WorkspaceStatus.STOPPED},
        {"status": WorkspaceStatus.STOPPING},
        {"status": WorkspaceStatus.FAILED},
        {"deadline_at": None},
        {"deadline_at": utc_now() - timedelta(seconds=1)},
        {"door_token_hash": None},
    ],
)
def test_the_token_of_a_workspace_that_does_not_run_opens_nothing(intake: Intake, changes: dict) -> None:
    headers = intake.workspace(**changes)
    for method, path in (
        ("GET", "/door/v1/requests"),
        ("GET", "/door/v1/imports"),
        ("POST", "/door/v1/drafts"),
    ):
        answer = intake.door.request(method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_no_token_and_a_wrong_one_open_nothing(intake: Intake) -> None:
    intake.workspace()
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer " + "x" * 5000},
        intake.of("ruth"),
    ):
        assert intake.door.get("/door/v1/requests", headers=headers).status_code == 401


def end_membership(intake: Intake) -> None:
    with intake.world.store.write(housekeeping=True) as change:
        ruth = intake.world.people["ruth"].id
        membership = change.session.exec(select(Membership).where(Membership.person_id == ruth)).one()
        membership.until = utc_now()
        change.session.add(membership)


def freeze(intake: Intake) -> None:
    with intake.world.store.write(housekeeping=True) as change:
        project = change.session.merge(intake.world.project)
        project.status = ProjectStatus.FROZEN


def disable(intake: Intake) -> None:
    with intake.world.store.write(housekeeping=True) as change:
        person = change.session.get(Person, intake.world.people["ruth"].id)
        assert person is not None
        person.disabled_at = utc_now()
        change.session.add(person)


def stop(intake: Intake) -> None:
    with intake.world.store.write(housekeeping=True) as change:
        workspace = change.session.exec(select(Workspace)).one()
        workspace.status = WorkspaceStatus.STOPPED
        change.session.add(workspace)


@pytest.mark.parametrize(
    ("ends", "code"),
    [(end_membership, 403), (freeze, 403), (disable, 401), (stop, 401)],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_the_door_closes_when_a_right_ends(intake: Intake, ends, code: int) -> None:
    headers = intake.workspace()
    assert intake.door.get("/door/v1/requests", headers=headers).status_code == 200
    ends(intake)
    assert intake.door.get("/door/v1/requests", headers=headers).status_code == code
    assert intake.door.post("/door/v1/drafts", headers=headers).status_code == code


@pytest.mark.parametrize("ends", [end_membership, freeze, stop], ids=lambda x: x.__name__)
def test_bytes_whose_right_ends_on_the_way_do_not_arrive(intake: Intake, ends) -> None:
    headers = intake.workspace()
    draft = intake.door.post("/door/v1/drafts", headers=headers).json()["id"]

    def body():
        yield b"x" * 100
        ends(intake)
        yield b"y" * 100

    answer = intake.door.put(
        f"/door/v1/drafts/{draft}/files/a.csv", content=body(), headers={**headers, **BYTES}
    )
    assert answer.status_code in {401, 403}
    assert not intake.kept(BlobClass.DRAFT, b"x" * 100 + b"y" * 100)


def test_a_workspace_reaches_the_drafts_of_its_own_person_alone(intake: Intake) -> None:
    ruth, robin = intake.workspace("ruth"), intake.workspace("robin")
    sam = intake.workspace("sam", project_id=next(iter(intake.world.actor("sam").memberships)))
    draft = intake.door.post("/door/v1/drafts", headers=ruth).json()["id"]
    url = f"/door/v1/drafts/{draft}/files/a.csv"
    assert intake.door.put(url, content=b"x", headers={**robin, **BYTES}).status_code == 403
    assert intake.door.put(url, content=b"x", headers={**sam, **BYTES}).status_code == 404
    assert (
        intake.door.put(
            f"/door/v1/drafts/{new_id()}/files/a.csv", content=b"x", headers={**ruth, **BYTES}
        ).status_code
        == 404
    )
    assert intake.door.put(url, content=b"x", headers={**ruth, **BYTES}).status_code == 201
    assert [item["id"] for item in intake.door.get("/door/v1/requests", headers=ruth).json()["items"]] == [
        draft
    ]
    assert intake.door.get("/door/v1/requests", headers=robin).json()["items"] == []
    assert intake.door.get("/door/v1/requests", headers=sam).json()["items"] == []


def test_a_workspace_puts_nothing_into_what_comes_from_outside(intake: Intake) -> None:
    ingress, headers = intake.draft(), intake.workspace()
    answer = intake.door.put(
        f"/door/v1/drafts/{ingress}/files/a.py", content=b"x", headers={**headers, **BYTES}
    )
    assert answer.status_code == 403
    assert intake.read(ingress)["files"] == 0


def test_nothing_at_the_door_submits(intake: Intake) -> None:
    draft, headers = intake.egress(), intake.workspace("robin")
    for path in (f"/door/v1/drafts/{draft}/submit", f"{API}/requests/{draft}/submit"):
        assert intake.door.post(path, json={}, headers=headers).status_code == 404
    assert intake.status(draft) is AirlockStatus.DRAFT


def test_the_door_has_five_routes_and_answers_the_rest_with_problems(intake: Intake) -> None:
    answered = make_door_app({**intake.services, Settings: intake.settings}).routes
    routes = [route for route in answered if isinstance(route, APIRoute)]
    assert len(routes) == len(answered)
    assert {(method, route.path) for route in routes for method in route.methods} == {
        ("POST", "/door/v1/drafts"),
        ("PUT", "/door/v1/drafts/{draft_id}/files/{name}"),
        ("GET", "/door/v1/requests"),
        ("GET", "/door/v1/imports"),
        ("GET", "/door/v1/deliveries/{delivery_id}"),
    }
    for path in ("/", "/docs", "/openapi.json", "/api/v1/projects", "/door/v1/drafts/", "/static/app.js"):
        answer = intake.door.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc", "%2e%2e", "a%00b", "a%0Ab", "%E2%80%AEx", "n" * 256, ".bashrc"]
)
def test_a_hostile_name_does_not_pass_the_door(intake: Intake, name: str) -> None:
    headers = intake.workspace()
    draft = intake.door.post("/door/v1/drafts", headers=headers).json()["id"]
    answer = intake.door.put(
        f"/door/v1/drafts/{draft}/files/{name}", content=b"x", headers={**headers, **BYTES}
    )
    assert answer.status_code in {404, 405, 422}
    assert intake.read(draft)["files"] == 0


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"author_id": "x"}', b'{"purpose": "a\\u0000b"}', b"\xff", b"1" * 40000]
)
def test_a_body_that_is_not_a_draft_is_refused(intake: Intake, body: bytes) -> None:
    answer = intake.door.post("/door/v1/drafts", content=body, headers=intake.workspace())
    assert answer.status_code in {413, 422}
    with intake.world.store.read() as session:
        assert session.exec(select(AirlockRequest)).all() == []


def test_a_loop_at_the_door_stops_at_the_quota(intake: Intake) -> None:
    headers = intake.workspace()
    codes = [intake.door.post("/door/v1/drafts", headers=headers).status_code for _ in range(5)]
    assert codes == [201, 201, 201, 429, 429]


def test_imports_are_listed_once_they_are_placed(intake: Intake) -> None:
    draft, headers = intake.draft(), intake.workspace("robin")
    intake.put(draft, "lib.py", b"lib")
    intake.submit(draft)
    assert intake.door.get("/door/v1/imports", headers=headers).json() == {"items": []}
    with intake.world.store.write(housekeeping=True) as change:
        taken = change.session.exec(select(ImportedName)).one()
        taken.placed_at = utc_now()
        change.session.add(taken)
    [item] = intake.door.get("/door/v1/imports", headers=headers).json()["items"]
    assert (item["name"], item["sha256"]) == ("lib.py", hashlib.sha256(b"lib").hexdigest())


# The picker


def zone(intake: Intake) -> tuple[str, os.PathLike[str]]:
    project_id = intake.world.project.id
    return project_id, intake.zones.project(project_id)


def pick(intake: Intake, *paths: str, handle: str = "ruth", **more: str):
    body = {"project_id": intake.world.project.id, "area": "project", "paths": list(paths), **more}
    return intake.client.post(f"{API}/picks", json=body, headers=intake.of(handle))


def test_files_of_the_zone_are_listed_and_copied_into_a_draft(intake: Intake) -> None:
    project_id, folder = zone(intake)
    (folder / "results").mkdir()
    (folder / "results" / "table2.csv").write_bytes(b"a,b\n")
    listing = intake.client.get(f"{API}/zones/{project_id}", headers=intake.of("ruth")).json()
    assert [(entry["name"], entry["is_folder"]) for entry in listing["entries"]] == [("results", True)]
    inner = intake.client.get(f"{API}/zones/{project_id}?path=results", headers=intake.of("ruth")).json()
    assert (inner["entries"][0]["path"], inner["entries"][0]["size"]) == ("results/table2.csv", 4)
    view = pick(intake, "results/table2.csv").json()
    assert (view["direction"], view["status"]) == ("egress", "draft")
    assert view["file_list"][0]["sha256"] == hashlib.sha256(b"a,b\n").hexdigest()
    (folder / "results" / "table2.csv").write_bytes(b"changed afterwards")
    assert intake.submit(view["id"]).status_code == 200
    intake.outbox.run_due()
    assert intake.status(view["id"]) is AirlockStatus.IN_REVIEW


def test_what_leads_out_of_the_zone_is_neither_shown_nor_copied(intake: Intake, tmp_path) -> None:
    project_id, folder = zone(intake)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "link.csv").symlink_to(secret)
    (folder / "up").symlink_to("/")
    os.mkfifo(folder / "pipe.csv")
    os.link(secret, folder / "hard.csv")
    listing = intake.client.get(f"{API}/zones/{project_id}", headers=intake.of("ruth")).json()
    assert (listing["entries"], listing["left_out"]) == ([], 4)
    for path in ("link.csv", "up/etc/passwd", "pipe.csv", "hard.csv"):
        answer = pick(intake, path)
        assert answer.status_code in {404, 422}, path
    for path in ("../secret", "/etc/passwd", "a/../b", "", "a//b", "a\0b"):
        assert pick(intake, path).status_code == 422, path
    assert (
        intake.client.get(f"{API}/zones/{project_id}?path=up/etc", headers=intake.of("ruth")).status_code
        == 404
    )
    with intake.world.store.read() as session:
        assert session.exec(select(AirlockRequest)).all() == []


def test_a_home_is_its_persons_alone(intake: Intake) -> None:
    project_id, _ = zone(intake)
    home = intake.zones.home(project_id, intake.world.people["ruth"].id)
    (home / "mine.csv").write_bytes(b"mine")
    url = f"{API}/zones/{project_id}?area=home"
    assert len(intake.client.get(url, headers=intake.of("ruth")).json()["entries"]) == 1
    assert intake.client.get(url, headers=intake.of("robin")).json()["entries"] == []
    assert pick(intake, "mine.csv", area="home", handle="robin").status_code == 404
    assert pick(intake, "mine.csv", area="home").status_code == 201


@pytest.mark.parametrize("handle", ["sam", "rita", "ada"])
def test_strangers_see_no_zone(intake: Intake, handle: str) -> None:
    project_id, folder = zone(intake)
    (folder / "a.csv").write_bytes(b"a")
    assert intake.client.get(f"{API}/zones/{project_id}", headers=intake.of(handle)).status_code == 404
    assert pick(intake, "a.csv", handle=handle).status_code == 404


def test_the_picker_adds_to_a_draft_and_refuses_what_does_not_fit(intake: Intake) -> None:
    _, folder = zone(intake)
    (folder / "a.csv").write_bytes(b"a")
    (folder / "b").mkdir()
    (folder / "b" / "a.csv").write_bytes(b"other")
    (folder / ".hidden").write_bytes(b"h")
    (folder / "big.bin").write_bytes(b"x" * ((1 << 20) + 1))
    draft = pick(intake, "a.csv").json()["id"]
    assert pick(intake, "b/a.csv", request_id=draft).json()["files"] == 1
    assert pick(intake, "a.csv", "b/a.csv").status_code == 422
    assert pick(intake, ".hidden").status_code == 422
    assert pick(intake, "big.bin").status_code == 413
    assert pick(intake, "a.csv", request_id=intake.draft()).status_code == 409
    assert pick(intake, "a.csv", request_id=new_id()).status_code == 404
    assert pick(intake, "a.csv", request_id=draft, handle="robin").status_code == 403
