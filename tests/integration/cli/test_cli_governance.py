"""Projects, datasets and the audit log on the command line."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import update

from broch_core.tables.datasets import DatasetFile

from .conftest import Served

TODAY = datetime.now(UTC).date()
NEXT_MONTH = (TODAY + timedelta(days=30)).isoformat()


def folder(served: Served, **files: bytes) -> Path:
    place = served.home / "release"
    (place / "images").mkdir(parents=True)
    for name, data in (files or {"table": b"a,b\n", "images/scan": b"\x00" * 70_000}).items():
        (place / name).write_bytes(data)
    return place


def add_version(served: Served, place: Path, *more: str) -> str:
    return served.ok("dataset", "add-version", "cohort", str(place), *more, "--as", "stella")


def test_a_project_lives_its_life(served: Served) -> None:
    dates = ["--starts", TODAY.isoformat(), "--ends", NEXT_MONTH]
    served.ok("project", "create", "bone-age", "--name", "Bone age", *dates, "--as", "ada")
    for verb, status in (("activate", "active"), ("freeze", "frozen"), ("thaw", "active")):
        assert f"bone-age is {status}." in served.ok("project", verb, "bone-age", "--as", "ada")
    served.fails("project", "end", "bone-age", "--as", "ada", typed="n\n")
    served.ok("project", "end", "bone-age", "--yes", "--as", "ada")
    assert "not possible now" in served.fails("project", "thaw", "bone-age", "--as", "ada")


def test_members_come_and_go_by_handle(served: Served) -> None:
    served.ok("project", "add-member", "alpha", "sam", "--role", "lead", "--as", "ada")
    assert "alpha (lead)" in served.ok("whoami", "--as", "sam")
    served.ok("project", "remove-member", "alpha", "sam", "--as", "ada")
    assert "alpha" not in served.ok("whoami", "--as", "sam")
    assert "no member of alpha" in served.fails("project", "remove-member", "alpha", "sam", "--as", "ada")


def test_a_project_is_found_by_slug_id_and_part_of_an_id(served: Served) -> None:
    id_ = served.intake.world.project.id
    for text in ("alpha", id_, id_[-10:].lower()):
        assert served.json("project", "show", text, "--as", "ruth")["slug"] == "alpha"


def test_a_foreign_project_is_as_if_it_did_not_exist(served: Served) -> None:
    assert "There is no project 'beta'" in served.fails("project", "show", "beta", "--as", "ruth")
    assert "nothing with this id" in served.fails(
        "project", "show", served.intake.world.project.id, "--as", "sam"
    )


def test_what_is_not_valid_is_said_by_field(served: Served) -> None:
    words = ["project", "create", "x", "--name", "X", "--starts", "soon", "--ends", NEXT_MONTH, "--as", "ada"]
    assert "starts_on" in served.fails(*words)


def test_json_of_a_list_is_stable_and_sorted(served: Served) -> None:
    first = served.ok("project", "list", "--json", "--as", "ada")
    assert first == served.ok("project", "list", "--json", "--as", "ada")
    rows = json.loads(first)
    assert [row["slug"] for row in rows] == ["beta", "alpha"]
    assert list(rows[0]) == sorted(rows[0])
    assert set(rows[0]) >= {"id", "slug", "name", "status", "starts_on", "ends_on"}


def test_a_folder_becomes_a_sealed_version(served: Served) -> None:
    place = folder(served)
    said = add_version(served, place, "--seal")
    assert "Version 2 is sealed: 2 files, 68.4 KiB, manifest sha256 " in said
    shown = served.json("dataset", "show", "cohort", "--as", "stella")
    assert [(v["number"], v["status"]) for v in shown["versions"]] == [(2, "sealed"), (1, "sealed")]
    assert "as it was sealed: 2 files" in served.ok("dataset", "verify", "cohort@2", "--as", "stella")


def test_an_upload_of_a_folder_goes_on_after_a_break(served: Served) -> None:
    place = folder(served)
    add_version(served, place)
    (place / "zzz-late").write_bytes(b"late")
    again = served.run("dataset", "add-version", "cohort", str(place), "--seal", "--as", "stella")
    assert again.exit_code == 0, again.output
    assert "Going on with version 2" in again.stderr
    assert "table" not in again.stderr  # sent once
    assert "3 files" in again.stdout


def test_an_open_version_with_other_files_is_not_mixed_up(served: Served) -> None:
    place = folder(served)
    add_version(served, place)
    (place / "table").write_bytes(b"changed")
    words = ["dataset", "add-version", "cohort", str(place), "--as", "stella"]
    assert "with other bytes" in served.fails(*words)
    (place / "table").unlink()
    assert "such as 'table'" in served.fails(*words)


def test_links_are_never_followed_out_of_the_folder(served: Served) -> None:
    place = folder(served)
    (place / "link").symlink_to("/etc/passwd")
    words = ["dataset", "add-version", "cohort", str(place), "--as", "stella"]
    assert "is a link" in served.fails(*words, code=2)
    (place / "link").unlink()
    (place / "deep").symlink_to("/etc")
    assert "is a link" in served.fails(*words, code=2)
    (place / "deep").unlink()
    served.ok(*words)


def test_bytes_that_changed_in_the_store_are_found_by_verify(served: Served) -> None:
    add_version(served, folder(served), "--seal")
    with served.intake.world.store.write(housekeeping=True) as change:
        change.session.exec(
            update(DatasetFile)
            .where(DatasetFile.path == "table")
            .values(sha256=hashlib.sha256(b"x").hexdigest())
        )
    assert "is not as it was sealed" in served.fails("dataset", "verify", "cohort@2", "--as", "stella")
    assert "suspended" in served.ok("dataset", "show", "cohort", "--as", "stella")


def test_an_asset_owner_who_is_in_no_project_grants_and_revokes_by_slug(served: Served) -> None:
    add_version(served, folder(served), "--seal")
    assert served.json("project", "list", "--as", "owen") == []
    words = ["dataset", "grant", "cohort@2", "beta", "--until", NEXT_MONTH, "--as", "owen"]
    assert "Beta may use cohort version 2" in served.ok(*words)
    grants = served.json("dataset", "show", "cohort", "--as", "owen")["grants"]
    assert [(g["version_number"], g["holds"]) for g in grants if g["project"]["slug"] == "beta"] == [
        (2, True)
    ]
    assert "may no longer use cohort" in served.ok("dataset", "revoke", "cohort", "beta", "--as", "owen")
    words[2] = "cohort@9"
    assert "no version 9" in served.fails(*words)
    words[2:4] = ["cohort@2", "gamma"]
    assert served.fails(*words).endswith("There are: alpha, beta.")


def test_only_the_asset_owner_gives_the_right_to_export_by_slug_and_handle(served: Served) -> None:
    words = ["dataset", "allow-export", "cohort", "alpha", "robin"]
    assert "asset owner" in served.fails(*words, "--as", "ruth")
    assert "Robin may submit results of Alpha" in served.ok(*words, "--as", "owen")
    assert "has the permission already" in served.fails(*words, "--as", "owen")
    withdraw = ["dataset", "withdraw-export", *words[2:]]
    assert "Robin may no longer" in served.ok(*withdraw, "--as", "owen")
    assert "dataset show cohort" in served.fails(*withdraw, "--as", "owen")
    assert "dataset grant" in served.fails(*words[:-1], "sam", "--as", "owen")
    assert "dataset grant" in served.fails(*words[:3], "beta", "sam", "--as", "owen")


def test_people_are_listed_and_added_by_administrators(served: Served) -> None:
    words = ["people", "add", "noor", "--name", "Noor Adeyemi", "--role", "reviewer", "--role", "asset_owner"]
    assert "Only a platform admin" in served.fails(*words, "--as", "ruth")
    assert "Noor Adeyemi can sign in as noor" in served.ok(*words, "--as", "ada")
    assert "is taken" in served.fails(*words, "--as", "ada")
    [noor] = [row for row in served.json("people", "list", "--as", "ada") if row["handle"] == "noor"]
    assert noor["roles"] == ["asset_owner", "reviewer"]
    assert "Noor Adeyemi" in served.ok("whoami", "--as", "noor")
    served.fails("people", "list", "--as", "ruth")
    assert "Only a platform admin" in served.fails("people", "sign-out", "noor", "--as", "ruth")
    assert "sessions of noor are ended" in served.ok("people", "sign-out", "noor", "--as", "ada")
    assert "0 sessions of noor" in served.ok("people", "sign-out", "noor", "--as", "ada")
    assert "Nobody here has the sign-in name 'nora'" in served.fails(
        "people", "sign-out", "nora", "--as", "ada"
    )


def test_a_file_leaves_an_open_version_and_never_a_sealed_one(served: Served) -> None:
    place = folder(served)
    add_version(served, place)
    words = ["dataset", "remove-file", "cohort@2", "images/scan", "--as", "stella"]
    assert "out of version 2" in served.ok(*words)
    (place / "images" / "scan").unlink()
    assert "1 files" in add_version(served, place, "--seal")
    words[3] = "table"
    assert "sealed" in served.fails(*words)


def test_a_dataset_is_registered(served: Served) -> None:
    served.ok("dataset", "create", "xrays", "--title", "Hand X-rays", "--owner", "owen", "--as", "stella")
    assert "Hand X-rays" in served.ok("dataset", "list", "--as", "ruth")


def test_the_audit_log_is_listed_verified_and_proved(served: Served) -> None:
    served.ok("project", "freeze", "alpha", "--as", "ada")
    served.fails("audit", "list", "--as", "ruth")
    served.work()
    [row] = served.json("audit", "list", "--action", "project:freeze", "--as", "ada")
    assert (row["actor_handle"], row["outcome"], row["project_slug"]) == ("ada", "allowed", "alpha")
    assert "as they were signed" in served.ok("audit", "verify", "--as", "ada")
    proof = served.json("audit", "proof", row["id"], "--as", "ada")
    assert proof["index"] == row["number"]
    assert proof["size"] > proof["index"]
    assert served.ok("audit", "checkpoint", "--as", "ada").splitlines()[0] == "broch.test/log"


def test_a_record_that_was_changed_in_the_database_is_named(served: Served) -> None:
    served.work()
    served.ok("project", "freeze", "alpha", "--as", "ada")
    served.work()
    file = served.intake.world.store.engine.url.database
    with closing(
        sqlite3.connect(str(file))
    ) as database:  # as somebody with the file, past every rule of ours
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_record'"
        for (name,) in database.execute(triggers).fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE audit_record SET action = 'project:thaw' WHERE action = 'project:freeze'")
        database.commit()
    assert "NOT as it was signed" in served.fails("audit", "verify", "--as", "ada")


@pytest.mark.parametrize("more", [[], ["--action", "session:start"]])
def test_the_audit_log_is_exported_line_by_line(served: Served, more: list[str]) -> None:
    served.ok("login", "--as", "ada")
    to = served.home / "audit.jsonl"
    served.ok("audit", "export", "--to", str(to), *more)
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    assert any(row["action"] == "session:start" for row in rows)
    assert {row["action"] for row in rows} == {"session:start"} or not more
    assert "is there already" in served.fails("audit", "export", "--to", str(to), *more)
    assert json.loads(served.ok("audit", "export", *more).splitlines()[-1])["id"] == rows[-1]["id"]
