"""Copies of an instance: by `broch backup` they are whole, plain ones of a running instance are refused, all are told."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections import deque
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from broch import identity
from broch.backup import back_up
from broch_core.audit.record import AuditSubject
from broch_core.audit.verification import verify_database
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.settings import Settings
from broch_core.store.engine import make_engine
from support.counts import count
from support.running import DIRECT, client, running_broch
from support.worlds import ORIGIN, World, make_world


class TestWhichFolderItIs:
    """The rules, without the rest of Broch."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "state"
        (folder / "keys").mkdir(parents=True)
        (folder / "lock").touch()
        identity.begin(folder)
        (folder / "broch.sqlite").write_bytes(b"database")
        identity.finish(folder)
        return folder

    def copy(self, folder: Path) -> Path:
        target = folder.with_name("copy")
        subprocess.run(["cp", "-a", folder, target], check=True)
        return target

    def test_it_starts_again(self, folder: Path):
        assert identity.begin(folder).generation == 1
        assert identity.begin(folder).generation == 1  # after a crash

    def test_it_may_be_moved(self, folder: Path):
        moved = folder.rename(folder.with_name("moved"))
        assert identity.begin(moved).generation == 1

    def test_a_copy_of_a_running_one_is_refused_whoever_speaks_for_it(self, folder: Path):
        identity.begin(folder)
        copy = self.copy(folder)
        for restored in (False, True):
            with pytest.raises(Conflict, match="while Broch ran"):
                identity.begin(copy, restored=restored)
        assert identity.begin(folder).generation == 1

    def test_a_copy_of_a_stopped_one_starts_when_somebody_speaks_for_it(self, folder: Path):
        copy = self.copy(folder)
        with pytest.raises(Conflict, match="copy of another folder"):
            identity.begin(copy)
        begun = identity.begin(copy, restored=True)
        assert (begun.generation, begun.recorded) == (2, False)
        identity.finish(copy)
        assert identity.begin(copy).generation == 2

    def test_older_files_put_back_in_place_are_told(self, folder: Path):
        copy = self.copy(folder)
        identity.begin(folder)
        identity.finish(folder)
        subprocess.run(["cp", "-a", f"{copy}/.", folder], check=True)
        with pytest.raises(Conflict, match="put back"):
            identity.begin(folder)
        assert identity.begin(folder, restored=True).generation == 2

    def test_a_database_without_a_word_is_refused(self, folder: Path):
        (folder / identity.NAME).unlink()
        with pytest.raises(Conflict, match="not known"):
            identity.begin(folder)
        assert identity.begin(folder, restored=True).generation == 2

    def test_a_damaged_word_is_refused(self, folder: Path):
        (folder / identity.NAME).write_text("{}")
        with pytest.raises(Conflict, match="cannot be read"):
            identity.begin(folder, restored=True)


class Writer(threading.Thread):
    """Takes bytes in and deletes old ones, as the airlock does: bytes before the commit, deletion after it."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.blobs = FolderBlobs(world.folder / "blobs")
        self.end = threading.Event()
        self.rounds = 0
        self.error: Exception | None = None

    def run(self) -> None:
        kept: deque[str] = deque()
        try:
            while not self.end.is_set():
                kept.append(self.one("taken", os.urandom(2000)))
                if len(kept) > 5:
                    self.delete(kept.popleft())
                self.rounds += 1
                if self.rounds % 7 == 0:
                    self.world.audit_log.sequence()
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error

    def one(self, what: str, data: bytes) -> str:
        with self.blobs.writer(self.world.project.id, 10_000) as writer:
            writer.write(data)
            sha256 = writer.commit(BlobClass.HELD)
        self.record(what, sha256)
        return sha256

    def delete(self, sha256: str) -> None:
        self.record("deleted", sha256)
        self.blobs.delete(self.world.project.id, BlobClass.HELD, sha256)

    def record(self, what: str, sha256: str) -> None:
        with self.world.store.write() as change:
            change.audit("system", what, AuditSubject("blob", sha256, self.world.project.id))


def speaks_of(folder: Path) -> set[str]:
    """Return the digests that the database in a folder says are there."""
    engine = create_engine(f"sqlite:///{folder / 'broch.sqlite'}")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT action, subject_id FROM audit_record ORDER BY id")).all()
    engine.dispose()
    return {id_ for action, id_ in rows if action == "taken"} - {
        id_ for action, id_ in rows if action == "deleted"
    }


def test_a_backup_under_writes_holds_the_bytes_of_every_row(tmp_path: Path):
    world = make_world(tmp_path / "state")
    writer = Writer(world)
    writer.start()
    try:
        while writer.rounds < 6 and writer.error is None:
            pass
        for n in range(count("backups of an instance that is written to", ci=15, nightly=200)):
            before = writer.rounds
            settings = Settings(folder=world.folder, log_name=ORIGIN)
            report = back_up(settings, target := tmp_path / f"backup-{n}")
            assert report.verified.ok
            there = {path.name for path in (target / "blobs" / "held").rglob("*") if path.is_file()}
            wanted = speaks_of(target)
            assert wanted <= there, n
            for path in (target / "blobs" / "held").rglob("*"):
                assert path.is_dir() or hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            found = identity.read(target)
            assert found is not None
            assert found.state is identity.State.BACKUP
            assert len(wanted) >= 5
            shutil.rmtree(target)
            while writer.rounds == before and writer.error is None:
                pass
    finally:
        writer.end.set()
        writer.join()
    assert writer.error is None
    world.store.engine.dispose()


def test_a_backup_replaces_nothing_and_never_lies_within(tmp_path: Path):
    world = make_world(tmp_path / "state")
    settings = Settings(folder=world.folder, log_name=ORIGIN)
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there", world.folder / "backup"):
        with pytest.raises(Conflict, match="there already"):
            back_up(settings, target)
    assert back_up(settings, tmp_path / "new").verified.ok


def test_a_backup_of_a_changed_log_is_refused(tmp_path: Path):
    world = make_world(tmp_path / "state")
    writer = Writer(world)
    writer.one("taken", b"x")
    world.audit_log.sequence()
    with create_engine(world.store.engine.url).begin() as connection:
        connection.execute(text("DROP TRIGGER audit_record_fixed"))
        connection.execute(text("UPDATE audit_record SET actor_id = 'nobody'"))
    with pytest.raises(Conflict, match="not as it was signed"):
        back_up(Settings(folder=world.folder, log_name=ORIGIN), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def broch(*words: str | Path, code: int) -> str:
    done = subprocess.run(
        [*DIRECT, *map(str, words)], capture_output=True, text=True, timeout=240, cwd="/", check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_running_broch_is_copied_by_its_command_and_not_by_others(tmp_path: Path):
    """The whole way, with writes going on: plain copy refused, backup restored, and what it then is told apart."""
    tmp_path.chmod(0o755)
    with running_broch(tmp_path / "one") as first, client(first, "sunniva") as admin:
        stopping = threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            while not stopping.is_set():
                body = {
                    "slug": f"p-{written}", "name": "P", "purpose": "Writes", "starts_on": "2026-01-01", "ends_on": "2099-01-01",
                }  # fmt: skip
                admin.post("/api/v1/projects", json=body).raise_for_status()
                written += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            while written < 5:
                assert thread.is_alive()
            # `cp` fails on sockets and on what goes away meanwhile, and copies all else.
            subprocess.run(
                ["cp", "-a", first.folder, tmp_path / "plain"], check=False, stderr=subprocess.DEVNULL
            )
            said = broch("backup", tmp_path / "two" / "state", "--dir", first.folder, code=0)
        finally:
            stopping.set()
            thread.join()
        assert "as they were signed" in said
        acknowledged = written
        trust = first.folder / "keys" / "keys.json"
        assert trust.exists()
    said = broch("up", "--dir", tmp_path / "plain", code=1)
    assert "while Broch ran" in said
    assert "broch backup" in said
    said = broch("up", "--dir", tmp_path / "two" / "state", code=1)
    assert "--restored" in said
    with (
        running_broch(tmp_path / "two", options=["--restored"]) as second,
        client(second, "sunniva") as admin,
    ):
        records = admin.get("/api/v1/audit/records", params={"action": identity.RESTORED}).json()["items"]
        assert [record["facts"] for record in records] == [{"generation": 2}]
        result = admin.post("/api/v1/audit/verify").json()
        assert result["ok"], result["reason"]
        slugs = {
            item["slug"]
            for page in [admin.get("/api/v1/projects", params={"limit": 200}).json()]
            for item in page["items"]
        }
        assert len([slug for slug in slugs if slug.startswith("p-")]) <= acknowledged
    engine = make_engine(f"sqlite:///{first.folder / 'broch.sqlite'}")
    from broch_core.proof import TrustFile

    assert verify_database(engine, TrustFile.parse(trust.read_bytes()), live_at=utc_now()).ok
    engine.dispose()
