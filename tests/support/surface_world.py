"""A world with one of everything in every state, for the matrix of routes and actors."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import delete
from sqlmodel import col, select, update

from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.service import Releaser
from broch_airlock.retention.eraser import Eraser
from broch_airlock.review.schemas import ViewTicketNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockRequest, CheckOutcome, Direction, Upload
from broch_airlock.uploads.service import UploadDesk
from broch_airlock.viewer.service import ViewDesk
from broch_api.datasets.ingest import FolderIngest
from broch_api.datasets.versions import VersionVault
from broch_api.hub_login.requests import Parameters, TokenRequest, challenge_of
from broch_api.hub_login.service import HubLogin
from broch_api.internal.credentials import ServiceTokens
from broch_core.actors import PlatformRole, ProjectRole
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus, ProjectStatus, VersionStatus, WorkspaceStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import OutboxWorker
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant
from broch_core.tables.projects import Membership, Project
from broch_core.tables.workspaces import LoginCode, Workspace
from broch_core.web.sessions import token_hash
from broch_workspaces.zones import FolderZones
from support.reviews import ReviewWorld
from support.surface import Surface, Visitor, open_surface, visitor_of
from support.surface_lists import add_lists
from support.surface_recipes import OAUTH
from support.surface_shared import add_shared
from support.surface_zones import add_deliveries

PEOPLE = {
    "author": "ruth",
    "member": "robin",
    "outsider": "sam",
    "reviewer": "rita",
    "exmember": "rosa",
    "steward": "stella",
    "owner": "owen",
    "admin": "ada",
}
"""Column of the matrix -> handle. `exmember` is a reviewer who was a member of the project until yesterday."""
ACTORS = ("nobody", *PEOPLE, "hub", "door")
DOOR_TOKEN = "door-token-of-ruth"


def make_surface(folder: Path) -> Surface:
    """Make the world, and remember it as it is."""
    surface = open_surface(
        folder,
        airlock_file_bytes=1 << 20,
        upload_chunk_bytes=1 << 16,
        ticket_lifetime=timedelta(hours=1),
    )
    world = surface.world
    world.add_person("ada", PlatformRole.ADMIN)
    world.add_person("stella", PlatformRole.STEWARD)
    world.add_person("owen", PlatformRole.ASSET_OWNER)
    for handle in ("rita", "ravi", "rosa"):
        world.add_person(handle, PlatformRole.REVIEWER)
    for handle in ("ruth", "robin", "sam"):
        world.add_person(handle)
    world.project = world.add_project("alpha", "ruth", "robin")
    world.add(_past(world.project, world.people["rosa"].id))
    beta = world.add_project("beta", "sam")
    surface.visitors["nobody"] = Visitor("nobody")
    for name, handle in PEOPLE.items():
        surface.visitors[name] = visitor_of(surface, name, handle)
    surface.visitors["hub"] = Visitor("hub", surface.service(ServiceTokens).hub)
    surface.visitors["door"] = Visitor("door", DOOR_TOKEN)
    surface.things["once"] = {"": {"project_id": world.project.id, "person": "ruth"}}
    _projects(surface)
    _data(surface)
    _workspaces(surface)
    _requests(surface, beta)
    _others(surface, beta)
    add_deliveries(surface)
    add_lists(surface, beta)
    add_shared(surface)
    world.audit_log.sequence()
    with world.store.read() as session:
        record = session.connection().exec_driver_sql("SELECT id FROM audit_record LIMIT 1").scalar_one()
    surface.things["record"] = {"": {"record_id": record}}
    surface.keep()
    return surface


def _past(project: Project, person_id: str) -> Membership:
    now = utc_now()
    return Membership(
        project_id=project.id,
        person_id=person_id,
        role=ProjectRole.RESEARCHER,
        since=now - timedelta(days=20),
        until=now - timedelta(days=1),
    )


def _projects(surface: Surface) -> None:
    world = surface.world
    found = surface.things["project"] = {}
    for status in ProjectStatus:
        project = world.add_project(f"in-{status.value}", "ruth", "robin", status=status)
        past = _past(project, world.people["rosa"].id)
        world.add(past)
        with world.store.read() as session:
            member = session.exec(
                select(Membership.id).where(
                    Membership.project_id == project.id, Membership.person_id == world.people["robin"].id
                )
            ).one()
        surface.service(FolderZones).project(project.id)
        found[status.value] = {"project_id": project.id, "membership_id": member, "past_id": past.id}
    for label, key in (("present", "membership_id"), ("past", "past_id")):
        active = found["active"]
        surface.things.setdefault("membership", {})[label] = {
            "project_id": active["project_id"],
            "membership_id": active[key],
        }


def _data(surface: Surface) -> None:
    world = surface.world
    steward, owner = world.actor("stella"), world.people["owen"].id
    files = surface.folder / "some-data"
    files.mkdir()
    (files / "table.csv").write_bytes(b"age,count\n40,12\n")
    versions = surface.things["version"] = {}
    cohort = Dataset(slug="cohort", title="Cohort", owner_id=owner)
    free = Dataset(slug="free", title="Free", owner_id=owner)
    world.add(cohort, free)
    made = {}
    for dataset, number, status in (
        (cohort, 1, VersionStatus.SEALED),
        (cohort, 2, VersionStatus.SUSPENDED),
        (cohort, 3, VersionStatus.OPEN),
        (free, 1, VersionStatus.SEALED),
    ):
        version = DatasetVersion(dataset_id=dataset.id, number=number)
        world.add(version)
        surface.service(FolderIngest).ingest_folder(steward, version.id, files)
        if status is not VersionStatus.OPEN:
            surface.service(VersionVault).seal(steward, version.id)
        if status is VersionStatus.SUSPENDED:
            _set(world.store, DatasetVersion, version.id, status=status, suspended_reason="Bytes changed.")
        made[dataset.slug, number] = version.id
        if dataset is cohort:
            versions[status.value] = {"dataset_id": dataset.id, "version_id": version.id}
    surface.things["dataset"] = {
        "one version is open": {"dataset_id": cohort.id},
        "all are sealed": {"dataset_id": free.id},
    }
    alpha = world.project
    grants = surface.things["grant"] = {}
    permissions = surface.things["permission"] = {}
    for state, ended in (("holds", None), ("ended", utc_now())):
        grant = Grant(
            project_id=alpha.id,
            version_id=made["cohort", 1],
            until=alpha.ends_on,
            given_by=owner,
            revoked_at=ended,
        )
        permission = ExportPermission(
            project_id=alpha.id,
            dataset_id=cohort.id,
            person_id=world.people["ruth"].id,
            given_by=owner,
            withdrawn_at=ended,
        )
        world.add(grant, permission)
        grants[state] = {"grant_id": grant.id, "dataset_id": cohort.id}
        permissions[state] = {"permission_id": permission.id, "dataset_id": cohort.id}
    free_grant = Grant(project_id=alpha.id, version_id=made["free", 1], until=alpha.ends_on, given_by=owner)
    free_permission = ExportPermission(
        project_id=alpha.id, dataset_id=free.id, person_id=world.people["ruth"].id, given_by=owner
    )
    world.add(free_grant, free_permission)
    surface.things["giving"] = {
        "": {
            "dataset_id": cohort.id,
            "project_id": alpha.id,
            "version_id": made["cohort", 1],
            "other_version_id": made["free", 1],
            "free_grant_id": free_grant.id,
            "free_permission_id": free_permission.id,
            "person_id": world.people["robin"].id,
            "until": alpha.ends_on.isoformat(),
        }
    }


def _workspaces(surface: Surface) -> None:
    world = surface.world
    found = surface.things["workspace"] = {}
    for status in (None, *WorkspaceStatus):
        running = status is WorkspaceStatus.RUNNING
        name = status.value if status else "none"
        project = world.project if running else world.add_project(f"work-{name}", "ruth", "robin")
        found[name] = {"project_id": project.id}
        if not running:
            world.add(_past(project, world.people["rosa"].id))
        if status is None:
            continue
        row = Workspace(
            project_id=project.id,
            person_id=world.people["ruth"].id,
            status=status,
            opened_at=utc_now(),
            deadline_at=utc_now() + timedelta(hours=8),
            door_token_hash=token_hash(DOOR_TOKEN) if running else None,
        )
        world.add(row)
        found[name] |= {"workspace_id": row.id, "principal": row.principal}


def _requests(surface: Surface, beta: Project) -> None:
    """Bring requests into every state, by reviewers and the releaser where the database would not take less."""
    reviews = cast("ReviewWorld", object.__new__(ReviewWorld))
    world = surface.world
    reviews.__dict__.update(
        world=world,
        store=world.store,
        blobs=surface.service(FolderBlobs),
        shelves=surface.service(Shelves),
        services=surface.instance.services,
        desk=surface.service(ReviewDesk),
        releaser=surface.service(Releaser),
    )
    reviews.outbox = OutboxWorker(world.store, {"airlock.release": reviews.releaser.release})
    found = surface.things["request"] = surface.things["release"] = {}
    for status in AirlockStatus:
        found[status.value] = _described(reviews, _brought_to(reviews, status))
    imported = reviews.in_review({"model.py": b"print(1)\n"}, direction=Direction.INGRESS)
    for handle in ("rita", "ravi"):
        reviews.decide(handle, imported, "approve")
    reviews.outbox.run_due()
    found["released (in)"] = _described(reviews, imported)
    found["deleted"] = _described(reviews, _deleted(reviews, surface.service(Eraser)))
    surface.things["ingress"] = {}
    for status in (AirlockStatus.DRAFT, AirlockStatus.IN_REVIEW, AirlockStatus.RETURNED):
        name = f"{status.value}.py"
        request = reviews.in_review({name: b"print(2)\n"}, direction=Direction.INGRESS)
        if status is AirlockStatus.RETURNED:
            reviews.move(request, status, turn=2)
        elif status is AirlockStatus.DRAFT:
            request = _draft(reviews, Direction.INGRESS, name)
        surface.things["ingress"][status.value] = _described(reviews, request)
    _uploads(surface)
    mine = world.project
    world.project = beta
    foreign = reviews.in_review({"theirs.csv": b"9\n"}, author="sam")
    world.project = mine
    surface.things["foreign"] = {"": _described(reviews, foreign)}


def _draft(reviews: ReviewWorld, direction: Direction, name: str) -> AirlockRequest:
    request = AirlockRequest(
        project_id=reviews.world.project.id,
        direction=direction,
        author_id=reviews.world.people["ruth"].id,
        purpose="Table 2",
        description="Counts.",
    )
    reviews.world.add(request)
    data = b"a,b\n3,4\n"
    reviews.give(request, name, data)
    with reviews.blobs.writer(request.project_id, 1 << 20) as writer:
        writer.write(data)
        writer.commit(BlobClass.DRAFT)
    with reviews.store.write(housekeeping=True) as change:  # nothing has checked a draft
        change.session.exec(
            delete(CheckOutcome).where(col(CheckOutcome.file_id).in_([reviews.files(request)[0].id]))
        )
    return request


def _brought_to(reviews: ReviewWorld, status: AirlockStatus) -> AirlockRequest:
    name = {f"{status.value}.csv": f"a,b\n1,{len(status)}\n".encode()}
    match status:
        case AirlockStatus.DRAFT:
            return _draft(reviews, Direction.EGRESS, "draft.csv")
        case AirlockStatus.SUBMITTED | AirlockStatus.CHECKING | AirlockStatus.QUARANTINED:
            request = _draft(reviews, Direction.EGRESS, next(iter(name)))
            reviews.move(request, status, submitted_at=utc_now())
        case AirlockStatus.RELEASED | AirlockStatus.RECALLED:
            request = reviews.released(files=name)
            if status is AirlockStatus.RECALLED:
                reviews.recall(request)
        case AirlockStatus.APPROVED | AirlockStatus.RELEASING | AirlockStatus.FAILED:
            request = reviews.approved(files=name)
            with reviews.store.write(housekeeping=True) as change:  # nobody releases it before we look
                change.session.exec(delete(OutboxEntry))
        case _:
            request = reviews.in_review(name)
    if reviews.request(request.id).status is not status:
        if status is AirlockStatus.FAILED:
            reviews.move(request, AirlockStatus.RELEASING)
        reviews.move(request, status)
    return reviews.request(request.id)


def _deleted(reviews: ReviewWorld, eraser: Eraser) -> AirlockRequest:
    """Return a released request whose bytes are gone, with their certificate."""
    request = reviews.released(files={"old.csv": b"a,b\n9,9\n"})
    reviews.move(request, request.status, moved_at=utc_now() - timedelta(days=4000))
    eraser.sweep()
    OutboxWorker(reviews.store, {"airlock.erase": eraser.erase}).run_due()
    return reviews.request(request.id)


def _described(reviews: ReviewWorld, request: AirlockRequest) -> dict[str, Any]:
    file = reviews.files(request)[0]
    return {
        "request_id": request.id,
        "project_id": request.project_id,
        "file_id": file.id,
        "sha256": file.sha256,
        "turn": reviews.request(request.id).turn,
    }


def _uploads(surface: Surface) -> None:
    desk, world = surface.service(UploadDesk), surface.world
    draft = surface.things["ingress"]["draft"]
    found = surface.things["upload"] = {}
    surface.things["draft"] = {"": {"draft_id": surface.things["request"]["draft"]["request_id"]}}
    for state in ("open", "expired"):
        name = base64.b64encode(f"{state}.bin".encode()).decode()
        upload = desk.create(world.actor("ruth"), draft["request_id"], 4, f"filename {name}")
        found[state] = {"upload_id": upload.id}
    _set(world.store, Upload, found["expired"]["upload_id"], expires_at=utc_now() - timedelta(hours=1))


def _others(surface: Surface, beta: Project) -> None:
    """Make what is used up: a download ticket of the author's browser, a code of the hub's sign-in."""
    released = surface.things["request"]["released"]
    browser = surface.world.sessions.actor(surface.visitors["author"].cookie or "")
    assert browser is not None
    ticket = surface.service(DownloadDesk).ticket(browser, released["request_id"], released["file_id"])
    surface.things["ticket"] = {"": {"ticket": ticket.ticket}}
    verifier = "v" * 50
    principal = surface.things["workspace"]["running"]["principal"]
    asked = Parameters.of(
        [*{**OAUTH, "code_challenge": challenge_of(verifier), "principal": principal}.items()]
    )
    address = surface.service(HubLogin).authorize(browser, asked)
    code = parse_qs(urlsplit(address).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    secret = surface.service(ServiceTokens).hub_oauth
    form |= {"redirect_uri": OAUTH["redirect_uri"], "client_id": "hub"}
    second = surface.service(HubLogin).authorize(browser, asked)
    access = surface.service(HubLogin).redeem(
        TokenRequest(parse_qs(urlsplit(second).query)["code"][0], OAUTH["redirect_uri"], verifier)
    )
    with surface.world.store.write(housekeeping=True) as change:
        later = utc_now() + timedelta(hours=1)
        change.session.exec(update(LoginCode).values(expires_at=later))
        change.session.exec(
            update(LoginCode).where(col(LoginCode.redeemed_at).is_not(None)).values(redeemed_at=later)
        )
    surface.things["code"] = {"": {"form": form, "secret": secret, "access": access.token}}
    for project in (surface.world.project, beta):
        (surface.service(FolderZones).project(project.id) / "results.csv").write_bytes(b"a\n1\n")
    surface.things["zone"] = {"": {"project_id": surface.world.project.id}}


def view_ticket(surface: Surface) -> str:
    """Return a ticket of the independent reviewer for the file in review."""
    token = surface.visitors["reviewer"].bearer
    actor = surface.world.sessions.actor(token or "")
    assert actor is not None
    thing = SimpleNamespace(**surface.things["request"]["in_review"])
    body = ViewTicketNew(sha256=thing.sha256, turn=thing.turn)
    return str(surface.service(ViewDesk).ticket(actor, thing.request_id, thing.file_id, body).ticket)


def _set(store: Store, table: type[Any], id_: str, **values: Any) -> None:
    with store.write(housekeeping=True) as change:
        change.session.exec(update(table).where(table.id == id_).values(**values))
