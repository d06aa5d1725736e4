"""Files into a zone and out of it: real door, real gateway, real importer and command, on SQLite and PostgreSQL."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from broch_airlock.checking.deadlines import DeadlineSweeper
from broch_airlock.door.entrances import GatewayEntrance
from broch_airlock.release.cluster_zones import ClusterZones
from broch_airlock.tables import AirlockFile, AirlockRequest, Direction, ImportedName
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.ids import new_id
from broch_core.lifecycles import AirlockStatus, ProjectStatus, WorkspaceStatus
from broch_core.outbox.worker import PermanentError, TemporaryError
from broch_core.tables.workspaces import Workspace
from broch_core.tables.zones import DeliveryOp, Zone, ZoneDelivery
from broch_workspaces.cluster.spec import namespace_of
from support.door import door_app, serving, start_workspace
from support.gateway import OTHER_ZONE, TOKEN, Rig, gateway_rig, prepare, review
from support.postgres import Cluster, cluster
from support.reviews import ReviewWorld

AIRLOCK = Path(__file__).parents[3] / "spawner" / "broch_spawner" / "inside" / "airlock.py"
IMPORTER = "import os, pathlib, sys; from broch_workspaces.importer.__main__ import run; sys.exit(run(os.environ, pathlib.Path(sys.argv[1])))"
RUTH, POD, CARRIER, STRANGER = "ruth.s.token", "ws-of-ruth", "importer.s.token", "stranger.s.token"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewWorld]:
    url = request.getfixturevalue("server").fresh() if request.param == "postgres" else None
    place = ReviewWorld(tmp_path / "world", url, ClusterZones)
    yield place
    place.store.engine.dispose()


@pytest.fixture
def rig(place: ReviewWorld, tmp_path: Path) -> Iterator[Rig]:
    """Return a gateway before the door of `place`, which knows a workspace, an importer and one of another zone."""
    folder = tmp_path / "gateway"
    prepare(folder)
    with serving(door_app(place), folder / "tls") as door, gateway_rig(folder, door=door) as running:
        zone = namespace_of(place.world.project.id)
        running.judge.answers = {
            RUTH: review(zone, pod=POD, number=1),
            CARRIER: review(zone, "importer", "import-1", 2),
            STRANGER: review(OTHER_ZONE, "importer", "import-1", 3),
        }
        yield running


def inside(rig: Rig, token: str, **more: str) -> dict[str, str]:
    """Return the environment of a pod."""
    file = rig.folder / f"token-{token}"
    file.write_text(token)
    return {
        "PATH": os.defpath,
        "BROCH_DOOR_URL": f"https://localhost:{rig.port}",
        "BROCH_DOOR_TOKEN_FILE": str(file),
        "SSL_CERT_FILE": str(rig.ca),
        **more,
    }


def import_(rig: Rig, row: ZoneDelivery, folder: Path, token: str = CARRIER) -> tuple[int, str]:
    """Run an importer as a process; return its exit code and what it said."""
    said = row.model_dump(include={"id", "op", "name", "sha256", "size"}, mode="json")
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORTER, folder],
        env=inside(rig, token, BROCH_DELIVERY=json.dumps(said)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def airlock(rig: Rig, *words: str, token: str = RUTH) -> subprocess.CompletedProcess[str]:
    """Run the command of a workspace."""
    return subprocess.run(
        [sys.executable, "-I", AIRLOCK, *words],
        env=inside(rig, token),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pending(place: ReviewWorld) -> list[ZoneDelivery]:
    with place.store.read() as session:
        rows = session.exec(select(ZoneDelivery).order_by(ZoneDelivery.id)).all()
    return [row for row in rows if row.done_at is None and row.failure is None]


def report(place: ReviewWorld, row: ZoneDelivery, failure: str | None = None) -> None:
    """Say what the controller would."""
    with place.store.write(housekeeping=True) as change:
        found = change.session.get_one(ZoneDelivery, row.id)
        if failure is None:
            found.done_at = utc_now()
        found.failure = failure
        change.session.add(found)


def release(place: ReviewWorld, request: AirlockRequest) -> AirlockStatus:
    place.releaser.release({"request_id": request.id})
    return place.request(request.id).status


def waits(place: ReviewWorld, request: AirlockRequest) -> list[ZoneDelivery]:
    with pytest.raises(TemporaryError) as told:
        release(place, request)
    assert told.value.delay == 1.0
    return pending(place)


def test_released_files_reach_the_zone_and_are_taken_back(place: ReviewWorld, rig: Rig, tmp_path: Path):
    files = {"lib.py": b"import this\n", "data with spaces é.csv": b"x" * 1_000_000, "empty.txt": b""}
    request = place.approved(files=files, direction=Direction.INGRESS)
    rows = waits(place, request)
    assert {(row.name, row.size, row.op) for row in rows} == {
        (name, len(data), DeliveryOp.PLACE) for name, data in files.items()
    }
    assert [row.id for row in waits(place, request)] == [row.id for row in rows]
    imports = tmp_path / "imports"
    imports.mkdir()
    for row in rows:
        assert import_(rig, row, imports) == (0, "")
        assert import_(rig, row, imports) == (0, "")
        report(place, row)
    assert release(place, request) is AirlockStatus.RELEASED
    assert {path.name: path.read_bytes() for path in imports.iterdir()} == files
    assert {path.stat().st_mode & 0o777 for path in imports.iterdir()} == {0o444}
    with place.store.read() as session:
        assert all(name.placed_at for name in session.exec(select(ImportedName)).all())

    place.recall(request)
    with pytest.raises(TemporaryError):
        place.overseer.take_back({"request_id": request.id})
    while rows := pending(place):
        for row in rows:
            assert row.op is DeliveryOp.REMOVE
            assert import_(rig, row, imports) == (0, "")
            report(place, row)
        try:
            place.overseer.take_back({"request_id": request.id})
        except TemporaryError:
            continue
    assert list(imports.iterdir()) == []
    place.overseer.take_back({"request_id": request.id})
    assert pending(place) == []


def test_a_name_that_is_taken_fails_the_delivery_and_can_be_tried_again(
    place: ReviewWorld, rig: Rig, tmp_path
):
    request = place.approved(files={"lib.py": b"ours"}, direction=Direction.INGRESS)
    [row] = waits(place, request)
    (tmp_path / "lib.py").write_bytes(b"theirs")
    code, said = import_(rig, row, tmp_path)
    assert (code, said) == (3, "importer: the name is taken by other bytes\n")
    assert (tmp_path / "lib.py").read_bytes() == b"theirs"
    report(place, row, "The name is taken.")
    with pytest.raises(PermanentError, match="taken"):
        release(place, request)
    [again] = waits(place, request)
    assert again.id != row.id
    (tmp_path / "lib.py").unlink()
    assert import_(rig, again, tmp_path)[0] == 0
    report(place, again)
    assert release(place, request) is AirlockStatus.RELEASED


def late(place: ReviewWorld, request: AirlockRequest) -> AirlockRequest:
    """Let the hour of a release be over."""
    place.move(request, AirlockStatus.RELEASING, check_deadline=utc_now() - timedelta(seconds=1))
    assert DeadlineSweeper(place.store, None, place.world.settings).sweep() == 1
    return place.request(request.id)


def test_what_a_release_could_not_place_never_arrives_after_it_has_failed(
    place: ReviewWorld, rig: Rig, tmp_path: Path
):
    request = place.approved(files={"lib.py": b"ours", "there.py": b"too"}, direction=Direction.INGRESS)
    row, there = sorted(waits(place, request), key=lambda one: one.name)
    assert import_(rig, there, tmp_path)[0] == 0
    report(place, there)
    with place.store.write(housekeeping=True) as change:
        change.session.add(Zone(project_id=request.project_id, message="There is no room."))
    failed = late(place, request)
    assert failed.status is AirlockStatus.FAILED
    assert failed.message == (
        "The release did not end in time. There is no room. An administrator can try it again."
    )
    # Its importer gets no bytes any more, and what one may have put there meanwhile is taken out.
    assert rig.ask("GET", f"/door/v1/deliveries/{row.id}", CARRIER).status == 404
    [out] = pending(place)
    assert (out.op, out.name, out.sha256) == (DeliveryOp.REMOVE, "lib.py", row.sha256)
    assert DeadlineSweeper(place.store, None, place.world.settings).sweep() == 0
    assert [one.id for one in pending(place)] == [out.id]

    place.overseer.retry(place.world.actor("ada"), request.id)
    assert [one.id for one in waits(place, request)] == [out.id]
    assert import_(rig, out, tmp_path) == (0, "")
    report(place, out)
    [again] = waits(place, request)
    assert (again.op, again.name) == (DeliveryOp.PLACE, "lib.py")
    assert import_(rig, again, tmp_path) == (0, "")
    report(place, again)
    assert release(place, request) is AirlockStatus.RELEASED
    assert {path.name for path in tmp_path.glob("*.py")} == {"lib.py", "there.py"}


def test_a_delivery_that_was_entered_while_its_release_failed_is_given_up_too(place: ReviewWorld, rig: Rig):
    request = place.approved(files={"lib.py": b"ours"}, direction=Direction.INGRESS)
    [row] = waits(place, request)
    assert rig.ask("GET", f"/door/v1/deliveries/{row.id}", CARRIER).status == 200
    place.move(request, AirlockStatus.FAILED)
    assert rig.ask("GET", f"/door/v1/deliveries/{row.id}", CARRIER).status == 404
    DeadlineSweeper(place.store, None, place.world.settings).sweep()
    assert [one.op for one in pending(place)] == [DeliveryOp.REMOVE]


def test_why_a_file_could_not_be_placed_is_told_with_the_failure(place: ReviewWorld):
    request = place.approved(files={"lib.py": b"ours"}, direction=Direction.INGRESS)
    [row] = waits(place, request)
    report(place, row, "The storage cannot link files.")
    with pytest.raises(PermanentError):
        release(place, request)
    assert late(place, request).message == (
        "The release did not end in time. The storage cannot link files. An administrator can try it again."
    )


def test_what_is_to_be_done_in_an_ended_project_is_told_and_not_waited_for(
    place: ReviewWorld, rig: Rig, tmp_path
):
    there, on_its_way = (
        place.approved(files={name: b"ours"}, direction=Direction.INGRESS) for name in ("there.py", "late.py")
    )
    [row] = waits(place, there)
    assert import_(rig, row, tmp_path) == (0, "")
    report(place, row)
    assert release(place, there) is AirlockStatus.RELEASED
    waits(place, on_its_way)
    _freeze(place, ProjectStatus.ENDED)
    place.recall(there)
    folder = f"broch.dev/archived-of={there.project_id.lower()}"
    with pytest.raises(PermanentError, match=folder):
        place.overseer.take_back({"request_id": there.id})
    with pytest.raises(PermanentError, match=folder):
        release(place, on_its_way)


def test_a_delivery_is_for_the_importer_of_its_zone_and_only_while_it_is_under_way(
    place: ReviewWorld, rig: Rig, tmp_path: Path
):
    request = place.approved(files={"lib.py": b"ours"}, direction=Direction.INGRESS)
    [row] = waits(place, request)
    path = f"/door/v1/deliveries/{row.id}"
    start_workspace(place, POD)
    assert rig.ask("GET", path, RUTH).status == 403
    assert rig.ask("GET", path, STRANGER).status == 404
    assert rig.ask("GET", f"/door/v1/deliveries/{new_id()}", CARRIER).status == 404
    assert rig.ask("GET", "/door/v1/imports", CARRIER).status == 403
    answer = rig.ask("GET", path, CARRIER)
    assert (answer.status, answer.body) == (200, b"ours")
    assert answer.header("broch-sha256") == row.sha256
    assert import_(rig, row, tmp_path, STRANGER)[0] == 1
    _freeze(place)
    assert rig.ask("GET", path, CARRIER).status == 409
    _freeze(place, ProjectStatus.ACTIVE)
    assert rig.ask("GET", path, CARRIER).status == 200
    report(place, row)
    assert rig.ask("GET", path, CARRIER).status == 404


def _freeze(place: ReviewWorld, status: ProjectStatus = ProjectStatus.FROZEN) -> None:
    with place.store.write(housekeeping=True) as change:
        project = change.session.merge(place.world.project)
        project.status = status
        change.session.add(project)


def test_bytes_that_changed_in_the_store_are_never_placed(place: ReviewWorld, rig: Rig, tmp_path: Path):
    request = place.approved(files={"lib.py": b"ours"}, direction=Direction.INGRESS)
    [row] = waits(place, request)
    kept = place.blobs.path(row.project_id, BlobClass.RELEASED, row.sha256)
    kept.chmod(0o600)
    kept.write_bytes(b"evil")
    code, said = import_(rig, row, tmp_path)
    assert code == 1, said
    assert list(tmp_path.glob("*.py")) == []
    assert list(tmp_path.glob(".incoming*")) == []


def test_the_command_of_a_workspace_submits_through_the_gateway(place: ReviewWorld, rig: Rig, tmp_path: Path):
    start_workspace(place, POD)
    table = tmp_path / "Table 2 (final) é.csv"
    table.write_bytes(b"a,b\n1,2\n" * 1000)
    done = airlock(rig, "submit", str(table), "--purpose", "Table 2")
    assert done.returncode == 0, done.stderr
    assert "Nothing has left yet" in done.stdout
    with place.store.read() as session:
        [request] = session.exec(select(AirlockRequest)).all()
        [file] = session.exec(select(AirlockFile)).all()
    assert (request.direction, request.status) == (Direction.EGRESS, AirlockStatus.DRAFT)
    assert (file.name, file.size) == (table.name, 8000)
    assert "Table 2" in airlock(rig, "status").stdout
    assert airlock(rig, "imports").returncode == 0


def test_a_workspace_that_stopped_is_nobody_although_its_pod_still_is(place: ReviewWorld, rig: Rig):
    start_workspace(place, POD)
    assert airlock(rig, "status").returncode == 0
    with place.store.write(housekeeping=True) as change:
        row = change.session.exec(select(Workspace)).one()
        row.status = WorkspaceStatus.STOPPED
        change.session.add(row)
    done = airlock(rig, "status")
    assert (done.returncode, done.stderr) == (1, "airlock: This token is not of a workspace that runs now.\n")


def test_the_door_opens_to_nobody_but_the_gateway(place: ReviewWorld):
    client = TestClient(door_app(place), base_url="https://door")
    zone = start_workspace(place, POD)
    named = {"Broch-Pod": f"{zone}/{POD}", "Broch-Account": "workspace"}
    good = {"Authorization": f"Bearer {TOKEN}", **named}
    assert client.get("/door/v1/imports", headers=good).status_code == 200
    for changed in (
        {"Authorization": ""},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {zone}/{POD}"},
        {"Authorization": "Bearer é".encode("latin-1")},
        {"Broch-Pod": ""},
        {"Broch-Pod": POD},
        {"Broch-Pod": f"{zone}/{POD}/x"},
        {"Broch-Pod": f"{zone}/ws-of-robin"},
        {"Broch-Pod": f"{OTHER_ZONE}/{POD}"},
        {"Broch-Account": ""},
        {"Broch-Account": "default"},
    ):
        assert client.get("/door/v1/imports", headers={**good, **changed}).status_code == 401, changed
    assert client.get("/door/v1/imports", headers={**good, "Broch-Account": "importer"}).status_code == 403
    twice = [*good.items(), ("Broch-Pod", f"{zone}/{POD}")]
    assert client.get("/door/v1/imports", headers=twice).status_code == 401


def test_an_empty_gateway_token_opens_nothing(place: ReviewWorld):
    with pytest.raises(ValueError, match="empty"):
        GatewayEntrance("")


def test_two_who_enter_the_same_delivery_enter_one(place: ReviewWorld):
    zones, project = ClusterZones(place.store), place.world.project.id
    told: list[BaseException] = []

    def enter() -> None:
        try:
            zones.place_import(project, "lib.py", io.BytesIO(b"ours"))
        except (TemporaryError, Conflict) as error:
            told.append(error)

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in told] == [TemporaryError] * 8
    assert len(pending(place)) == 1
