"""Exports to a folder, to S3 (moto's server on loopback) and to a bare Git repository: added only, and forks are seen."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import create_engine, text

from broch_api.status.parts import export_part
from broch_core.audit.exports.checking import check_against, check_export
from broch_core.audit.exports.exporter import Forked, bring_up_to_date
from broch_core.audit.exports.places import ExportPlace, ExportRefused, FolderPlace, open_place
from broch_core.audit.exports.publisher import LogPublisher
from broch_core.audit.exports.sources import DatabaseSource
from broch_core.audit.record import AuditSubject
from broch_core.errors import Conflict
from broch_core.proof import TrustFile
from support.worlds import World, make_world

Opened = Callable[[], ExportPlace]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture(params=["folder", "git", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the same place again and again, as runs of different days do."""
    address = str(tmp_path / "export")
    if request.param == "git":
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / "audit.git"], check=True)
        address = f"git:{tmp_path / 'audit.git'}"
    if request.param == "s3":
        for name, value in {
            "AWS_ENDPOINT_URL_S3": request.getfixturevalue("s3"),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        bucket = tmp_path.name.replace("_", "-").lower()[:60]
        boto3.client("s3").create_bucket(Bucket=bucket)
        address = f"s3://{bucket}/logs/broch"
    return lambda: open_place(address, scratch=tmp_path / "scratch")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "broch")


def happen(world: World, count: int) -> None:
    for n in range(count):
        with world.store.write() as change:
            change.audit("system", "airlock:submit", AuditSubject("thing", str(n)), personal={"name": "Ruth"})
    world.audit_log.sequence()


def export(world: World, opened: Opened) -> int:
    return bring_up_to_date(source(world), opened(), world.keys.trust()).added


def source(world: World) -> DatabaseSource:
    return DatabaseSource(world.store.engine)


def copy_of(world: World, folder: Path) -> World:
    """A copy of a whole Broch, as a restored backup is one."""
    folder.mkdir()
    with create_engine(world.store.engine.url).connect() as connection:
        connection.execute(text(f"VACUUM INTO '{folder / 'broch.sqlite'}'"))
    shutil.copytree(world.folder / "keys", folder / "keys")
    from support import worlds

    return worlds._open(
        world.settings.model_copy(update={"folder": folder}), f"sqlite:///{folder / 'broch.sqlite'}"
    )


def test_an_export_grows_with_the_log_and_a_second_run_changes_nothing(world: World, opened: Opened):
    happen(world, 7)
    assert export(world, opened) == 7
    assert export(world, opened) == 0
    happen(world, 3)
    assert export(world, opened) == 3
    assert opened().names("records") == ["000000000000-000000000007.jsonl", "000000000007-000000000010.jsonl"]
    result = check_against(source(world), opened(), world.keys.trust())
    assert (result.ok, result.size) == (True, 10), result.reason
    assert b"Ruth" not in opened().read("records/000000000000-000000000007.jsonl")


def test_a_log_that_was_cut_is_found_and_not_exported(world: World, opened: Opened, tmp_path: Path):
    happen(world, 5)
    older = copy_of(world, tmp_path / "older")
    happen(world, 5)
    export(world, opened)
    found = check_against(source(older), opened(), world.keys.trust())
    assert (found.ok, found.first_bad) == (False, 5)
    with pytest.raises(Forked, match="this log only 5"):
        export(older, opened)
    assert check_against(source(world), opened(), world.keys.trust()).ok


def test_a_restored_copy_that_goes_on_is_found_as_a_fork_and_the_first_other_record_named(
    world: World, opened: Opened, tmp_path: Path
):
    happen(world, 5)
    copy = copy_of(world, tmp_path / "copy")
    happen(world, 4)
    export(world, opened)
    happen(copy, 9)
    assert copy.audit_log.verify().ok  # by itself it is a good log, signed with the same keys
    found = check_against(source(copy), opened(), world.keys.trust())
    assert (found.ok, found.first_bad) == (False, 5)
    assert "does not continue" in found.reason
    with pytest.raises(Forked):
        export(copy, opened)
    assert check_export(opened(), world.keys.trust()).size == 9


def test_a_run_that_was_broken_off_is_done_again(
    world: World, opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    happen(world, 4)
    place = opened()
    add = place.add

    def dies(name: str, data: bytes) -> None:
        if name.startswith("checkpoints/"):
            raise ExportRefused("the network is gone")
        add(name, data)

    monkeypatch.setattr(place, "add", dies)
    with pytest.raises(ExportRefused, match="gone"):
        bring_up_to_date(source(world), place, world.keys.trust())
    happen(world, 2)
    assert export(world, opened) == 6
    assert check_against(source(world), opened(), world.keys.trust()).ok


def test_other_bytes_under_a_name_are_never_overwritten(world: World, opened: Opened):
    place = opened()
    place.add("records/000000000000-000000000002.jsonl", b"something else\n")
    place.finish("by somebody")
    happen(world, 2)
    with pytest.raises(ExportRefused, match="other bytes"):
        export(world, opened)
    assert opened().read("records/000000000000-000000000002.jsonl") == b"something else\n"


def test_a_changed_record_in_the_database_is_not_exported(world: World, opened: Opened):
    happen(world, 3)
    engine = create_engine(world.store.engine.url)
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_record_fixed"))
        connection.execute(text("UPDATE audit_record SET actor_id = 'nobody' WHERE seq = 1"))
    with pytest.raises(Conflict, match="number 1"):
        export(world, opened)


@pytest.mark.parametrize("address", ["https://example.org/x", "", "git:--upload-pack=x", "git:"])
def test_what_is_no_place_is_refused(address: str, tmp_path: Path):
    with pytest.raises(ExportRefused):
        open_place(address, scratch=tmp_path)


def test_a_rewritten_branch_cannot_be_pushed_over(world: World, tmp_path: Path):
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "a.git"], check=True)
    address = f"git:{tmp_path / 'a.git'}"
    happen(world, 2)
    bring_up_to_date(source(world), open_place(address, scratch=tmp_path / "x"), world.keys.trust())
    late = open_place(address, scratch=tmp_path / "y")
    happen(world, 2)
    bring_up_to_date(source(world), open_place(address, scratch=tmp_path / "x"), world.keys.trust())
    happen(world, 1)  # the same records in the same second would be the same commit
    with pytest.raises(ExportRefused, match="push"):  # somebody was faster: nothing is forced
        bring_up_to_date(source(world), late, world.keys.trust())


class TestWhatBecameOfAnExport:
    """Changes of the export itself: whoever checks it needs no database."""

    @pytest.fixture
    def place(self, world: World, tmp_path: Path) -> Path:
        for count in (3, 4, 2):
            happen(world, count)
            bring_up_to_date(source(world), FolderPlace(tmp_path / "out"), world.keys.trust())
        return tmp_path / "out"

    def look(self, place: Path, trust: TrustFile):
        return check_export(FolderPlace(place), trust)

    def test_whole(self, world: World, place: Path):
        assert self.look(place, world.keys.trust()).ok

    @pytest.mark.parametrize(
        ("name", "change", "says"),
        [
            ("records/000000000003-000000000007.jsonl", lambda data: data.replace(b"system", b"nobody", 1), "signed checkpoint"),
            ("records/000000000003-000000000007.jsonl", lambda data: data[:-1], "whole lines"),
            ("records/000000000003-000000000007.jsonl", lambda data: data.split(b"\n", 1)[1], "whole lines"),
            ("records/000000000003-000000000007.jsonl", None, "number 3 on are missing"),
            ("checkpoints/000000000009.txt", lambda data: data.replace(b"\n9\n", b"\n8\n"), "signature"),
            ("checkpoints/000000000007.txt", lambda _: b"\xff", "text"),
        ],
    )  # fmt: skip
    def test_changed(self, world: World, place: Path, name: str, change, says: str):
        path = place / name
        data = path.read_bytes()
        path.unlink()
        if change is not None:
            path.write_bytes(change(data))
        result = self.look(place, world.keys.trust())
        assert not result.ok
        assert says in result.reason

    def test_signed_by_somebody_else(self, world: World, place: Path, tmp_path: Path):
        stranger = make_world(tmp_path / "stranger")
        stranger.keys.rotate("checkpoint", stranger.keys.trust().keys[0].not_before.replace(year=2030))
        keys = TrustFile(world.keys.origin, stranger.keys.trust().keys[-1:])
        assert not self.look(place, keys).ok


def test_an_instance_exports_by_itself_and_says_when_it_cannot(world: World, tmp_path: Path):
    publisher = LogPublisher(world.store, world.audit_log, str(tmp_path / "out"), tmp_path / "scratch")
    ask = export_part(publisher)
    assert ask().ok
    happen(world, 3)
    assert publisher.publish() == 3
    assert (ask().ok, ask().why) == (True, "It holds 3 records.")
    older = copy_of(world, tmp_path / "older")
    happen(world, 2)
    publisher.publish()
    late = LogPublisher(older.store, older.audit_log, str(tmp_path / "out"), tmp_path / "scratch")
    assert late.publish() == 0
    health = export_part(late)()
    assert (health.ok, health.needed) == (False, False)
    assert "older copy" in health.why
    assert publisher.publish() == 0
    assert ask().ok


@pytest.mark.parametrize(
    ("address", "variable", "says"),
    [
        ("s3://bucket/log", ("AWS_ENDPOINT_URL_S3", "no address"), "settings of the AWS tools"),
        ("s3://bucket/log", ("AWS_PROFILE", "nobody's"), "nobody's"),
        ("file", ("HOME", "/"), "cannot be"),
    ],
    ids=["endpoint", "profile", "folder"],
)
def test_whatever_keeps_an_export_from_going_on_is_told(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    variable: tuple[str, str],
    says: str,
):
    monkeypatch.setenv(*variable)
    if address == "file":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "checkpoints").write_text("not a folder")
        address = str(tmp_path / "out")
    publisher = LogPublisher(world.store, world.audit_log, address, tmp_path / "scratch")
    happen(world, 3)
    assert publisher.publish() == 0
    told = export_part(publisher)()
    assert told.ok is False
    assert says in told.why


def test_a_defect_of_ours_in_an_export_is_told_as_well(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publisher = LogPublisher(world.store, world.audit_log, str(tmp_path / "out"), tmp_path / "scratch")
    happen(world, 3)
    assert publisher.publish() == 3
    with monkeypatch.context() as patch:
        patch.setattr(FolderPlace, "names", lambda *_, **__: 1 / 0)
        assert publisher.publish() == 0
    assert (export_part(publisher)().ok, "ZeroDivisionError" in export_part(publisher)().why) == (False, True)
    happen(world, 2)
    assert publisher.publish() == 2
    assert export_part(publisher)().ok


def test_what_was_exported_long_ago_is_not_listed_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listed: list[int] = []
    whole = FolderPlace.names

    def names(self: FolderPlace, folder: str, *, after: str = "") -> list[str]:
        found = whole(self, folder, after=after)
        listed.append(len(found))
        return found

    monkeypatch.setattr(FolderPlace, "names", names)
    publisher = LogPublisher(world.store, world.audit_log, str(tmp_path / "out"), tmp_path / "scratch")
    for _ in range(5):
        happen(world, 2)
        publisher.publish()
    assert listed == [0, 1, 1, 1, 1]
    for file in (tmp_path / "out" / "checkpoints").iterdir():
        file.unlink()  # somebody did: then all is looked at, and what is missing is added again
    assert publisher.publish() == 10
