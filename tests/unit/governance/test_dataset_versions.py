"""Datasets: upload, seal, verify; grants and permissions to export."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.ingest import FolderIngest
from broch_api.datasets.paths import checked_path
from broch_api.datasets.verify import VersionVerifier
from broch_core.errors import Conflict, DomainError, Invalid
from broch_core.scope import live_grants
from support.counts import count

TODAY = datetime.now(UTC).date()
UNTIL = str(TODAY + timedelta(days=10))
BYTES = {"Content-Type": "application/octet-stream"}


def put(client, version, path, content=b"a,b\n1,2\n"):
    return client.put(
        f"/api/v1/dataset-versions/{version['id']}/files/{path}", content=content, headers=BYTES
    )


def sealed(client, version, **files):
    for name, content in (files or {"table.csv": b"a,b\n"}).items():
        assert put(client, version, name, content).status_code == 201
    answer = client.post(f"/api/v1/dataset-versions/{version['id']}/seal")
    assert answer.status_code == 200
    return answer.json()


def place(gov, version, path):
    return gov.service(VersionFolders).path(version["id"]) / path


def test_an_uploaded_file_is_hashed_here_and_lies_read_only(gov, steward, version):
    content = os.urandom(3_000_000)
    answer = put(steward, version, "sub/scan.dcm", content)
    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    stored = place(gov, version, "sub/scan.dcm")
    assert stored.read_bytes() == content
    assert stored.stat().st_mode & 0o777 == 0o444
    read = steward.get(f"/api/v1/dataset-versions/{version['id']}").json()
    assert (read["file_count"], read["total_bytes"]) == (1, 3_000_000)
    assert list(gov.service(VersionFolders).temporary.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/x", "a/%2e%2e/x", "/x", "a//b", ".hidden", "-rf", "a/.b", "a%00b", "a%0ab", "a%E2%80%AEb", "a\\b",
     "e%CC%81", "%ff", "a%20", "x" * 256, "/".join(["d" * 100] * 6), ""],
)  # fmt: skip
def test_an_unfit_path_is_refused_and_leaves_nothing(gov, steward, version, path):
    assert put(steward, version, path).status_code in {404, 422}
    assert steward.get(f"/api/v1/dataset-versions/{version['id']}").json()["file_count"] == 0
    assert list(gov.service(VersionFolders).files(version["id"])) == []


@settings(max_examples=count("paths inside a dataset version", ci=200, nightly=20_000), deadline=None)
@given(st.text(max_size=40))
def test_every_accepted_path_stays_below_its_folder(text):
    try:
        path = checked_path(text)
    except Invalid:
        return
    root = Path("/data/version")
    assert Path(os.path.normpath(root / path)) == root / path
    assert (root / path).is_relative_to(root)
    assert path.isprintable()


def test_plain_paths_are_accepted():
    for path in ("table.csv", "a/b/c.txt", "Größe 1.csv", "数据/表.csv", "x" * 255):
        assert checked_path(path) == path


def test_what_is_not_a_stream_of_the_said_length_is_refused(gov, steward, version):
    path = f"/api/v1/dataset-versions/{version['id']}/files/t.csv"
    assert steward.put(path, json={"a": 1}).status_code == 422
    assert steward.put(path, content=iter([b"abc"]), headers=BYTES).status_code == 422
    assert steward.put(path, content=b"abc", headers=BYTES | {"Content-Length": "5"}).status_code == 422
    assert steward.put(path, content=b"abcdef", headers=BYTES | {"Content-Length": "5"}).status_code == 422
    assert steward.put(path, content=b"", headers=BYTES | {"Content-Length": str(1 << 41)}).status_code == 413
    assert steward.put(path, content=b"abc", headers=BYTES).status_code == 201


def test_only_stewards_upload_and_nobody_replaces_a_file(gov, steward, version):
    assert put(gov.api("ruth"), version, "t.csv").status_code == 403
    assert put(steward, version, "t.csv").status_code == 201
    assert put(steward, version, "t.csv", b"other").status_code == 409
    assert put(steward, version, "t.csv/inner").status_code == 409
    assert place(gov, version, "t.csv").read_bytes() == b"a,b\n1,2\n"
    gone = steward.delete(f"/api/v1/dataset-versions/{version['id']}/files/t.csv")
    assert gone.status_code == 204
    assert put(steward, version, "t.csv", b"other").status_code == 201


def test_a_sealed_version_refuses_every_change(gov, steward, version):
    result = sealed(steward, version, **{"b.csv": b"2", "a.csv": b"1"})
    gov.work()
    base = f"/api/v1/dataset-versions/{version['id']}"
    assert put(steward, version, "c.csv").status_code == 409
    assert steward.delete(f"{base}/files/a.csv").status_code == 409
    assert steward.post(f"{base}/seal").status_code == 409
    assert place(gov, version, ".").stat().st_mode & 0o777 == 0o555
    manifest = steward.get(f"{base}/manifest").content
    assert hashlib.sha256(manifest).hexdigest() == result["manifest_sha256"]
    assert json.loads(manifest) == [
        {"path": name, "size": 1, "sha256": hashlib.sha256(text).hexdigest()}
        for name, text in (("a.csv", b"1"), ("b.csv", b"2"))
    ]


def test_an_empty_version_is_not_sealed_and_one_is_open_at_a_time(steward, version):
    assert steward.post(f"/api/v1/dataset-versions/{version['id']}/seal").status_code == 409
    again = f"/api/v1/datasets/{version['dataset_id']}/versions"
    assert steward.post(again).status_code == 409
    sealed(steward, version)
    assert steward.post(again).json()["number"] == 2


def test_what_has_no_row_is_gone_after_sealing(gov, steward, version):
    place(gov, version, "stray").write_bytes(b"left by a crash")
    sealed(steward, version)
    assert list(gov.service(VersionFolders).files(version["id"])) == ["table.csv"]


def grant(gov, version, handle="owen", **changes):
    body = {"project_id": gov.world.project.id, "version_id": version["id"], "until": UNTIL} | changes
    return gov.api(handle).post(f"/api/v1/datasets/{version['dataset_id']}/grants", json=body)


@pytest.mark.parametrize("harm", ["flip", "shorten", "remove", "add", "link"])
def test_changed_bytes_suspend_the_version_its_grants_and_workspaces(gov, steward, version, harm):
    sealed(steward, version, **{"table.csv": b"a,b\n1,2\n", "other.csv": b"x"})
    assert grant(gov, version).status_code == 201
    verifier = gov.service(VersionVerifier)
    assert verifier.verify_version(version["id"]).ok
    assert gov.effects("workspace.stop") == []
    file = place(gov, version, "table.csv")
    file.chmod(0o644)
    if harm == "flip":
        file.write_bytes(b"a,b\n1,3\n")
    elif harm == "shorten":
        file.write_bytes(b"a,b\n")
    elif harm == "remove":
        file.unlink()
    elif harm == "link":
        file.rename(file.with_name("moved"))
        file.symlink_to("moved")
    else:
        file.with_name("added.csv").write_bytes(b"x")
    answer = steward.post(f"/api/v1/dataset-versions/{version['id']}/verify").json()
    assert answer["ok"] is False
    assert ("added.csv" if harm == "add" else "table.csv") in answer["problem"]
    after = steward.get(f"/api/v1/dataset-versions/{version['id']}").json()
    assert after["status"] == "suspended"
    assert after["suspended_reason"] == answer["problem"]
    assert [e["project_id"] for e in gov.effects("workspace.stop")] == [gov.world.project.id]
    assert [record.actor_id for record in gov.records("version:suspended")] == ["system"]
    with gov.world.store.read() as session:
        live = live_grants(session, gov.world.project.id, datetime.now(UTC))
    assert version["id"] not in {row.id for _, row, _ in live}
    with pytest.raises(Conflict):
        verifier.verify_version(version["id"])


def test_the_schedule_reads_a_version_again_when_it_has_rested(gov, steward, version):
    """Without the rest an idle Broch would write a record at each turn of its clock, for ever."""
    verifier, here = gov.service(VersionVerifier), version["id"]
    assert here not in verifier.due()  # open
    sealed(steward, version)
    assert here in verifier.due()  # never read
    assert verifier.verify_version(here).ok
    assert here not in verifier.due()
    assert here in verifier.due(rest=timedelta(0))
    assert len(gov.records("version:verified")) == 1


def test_only_the_owner_grants_and_only_within_limits(gov, steward, version):
    assert grant(gov, version).status_code == 409  # open
    sealed(steward, version)
    for handle in ("ada", "stella", "ruth"):
        assert grant(gov, version, handle).status_code == 403
    ends = gov.world.project.ends_on
    assert grant(gov, version, until=str(ends + timedelta(days=1))).status_code == 422
    assert grant(gov, version, until=str(TODAY - timedelta(days=1))).status_code == 422
    assert grant(gov, version, project_id="01JD3W7Z8Q5T9XK2M4N6P8R0SV").status_code == 404
    assert grant(gov, version, until=str(ends)).status_code == 201
    assert grant(gov, version).status_code == 409
    assert grant(gov, version, kind="validation-only").status_code == 201


def test_revoking_a_mount_stops_workspaces_and_a_stranger_does_not_learn_of_the_grant(gov, steward, version):
    sealed(steward, version)
    made = grant(gov, version).json()
    path = f"/api/v1/grants/{made['id']}"
    assert gov.api("sam").delete(path).status_code == 404
    assert gov.api("ruth").delete(path).status_code == 403
    assert [g["id"] for g in gov.api("ruth").get(f"/api/v1/datasets/{version['dataset_id']}/grants").json()]
    assert gov.api("sam").get(f"/api/v1/datasets/{version['dataset_id']}/grants").json() == []
    assert gov.api("ada").delete(path).json()["holds"] is False
    assert len(gov.effects("workspace.stop")) == 1
    assert gov.api("owen").delete(path).status_code == 409


def test_export_permission_needs_a_grant_and_a_member(gov, steward, version):
    owen, path = gov.api("owen"), f"/api/v1/datasets/{version['dataset_id']}/export-permissions"
    people, project = gov.world.people, gov.world.project.id
    robin = {"project_id": project, "person_id": people["robin"].id}
    assert owen.post(path, json=robin).status_code == 409
    sealed(steward, version)
    grant(gov, version)
    assert owen.post(path, json=robin | {"person_id": people["sam"].id}).status_code == 409
    assert gov.api("ada").post(path, json=robin).status_code == 403
    given_ = owen.post(path, json=robin)
    assert given_.status_code == 201
    assert owen.post(path, json=robin).status_code == 409
    one = f"/api/v1/export-permissions/{given_.json()['id']}"
    assert gov.api("sam").delete(one).status_code == 404
    assert gov.api("robin").delete(one).status_code == 403
    assert owen.delete(one).json()["withdrawn_at"]
    assert owen.delete(one).status_code == 409


def test_a_folder_is_taken_whole_with_progress(gov, steward, version, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/b.bin").write_bytes(os.urandom(2_500_000))
    (source / "a.txt").write_text("a")
    seen = []
    ingest: FolderIngest = gov.service(FolderIngest)
    result = ingest.ingest_folder(gov.world.actor("stella"), version["id"], source, seen.append)
    assert (result.files, result.bytes) == (2, 2_500_001)
    assert [one.path for one in seen] == ["a.txt", "deep/b.bin"]
    (source / "a.txt").write_text("changed afterwards")
    assert steward.post(f"/api/v1/dataset-versions/{version['id']}/seal").status_code == 200
    assert gov.service(VersionVerifier).verify_version(version["id"]).ok


@pytest.mark.parametrize("unfit", ["link", "folder-link", "fifo", ".hidden", "empty"])
def test_an_unfit_folder_is_refused_as_a_whole(gov, steward, version, tmp_path, unfit):
    source = tmp_path / "source"
    source.mkdir()
    if unfit != "empty":
        (source / "good.txt").write_text("good")
    if unfit == "link":
        (source / "x").symlink_to("/etc/hostname")
    elif unfit == "folder-link":
        (source / "x").symlink_to("/etc")
    elif unfit == "fifo":
        os.mkfifo(source / "x")
    elif unfit == ".hidden":
        (source / ".hidden").write_text("x")
    with pytest.raises(DomainError):
        gov.service(FolderIngest).ingest_folder(gov.world.actor("stella"), version["id"], source)
    assert list(gov.service(VersionFolders).files(version["id"])) == []


def test_a_dataset_needs_an_asset_owner_and_a_free_slug(gov, steward):
    body = {"slug": "cells", "title": "Cells", "owner": "ruth"}
    assert steward.post("/api/v1/datasets", json=body).status_code == 422
    assert gov.api("owen").post("/api/v1/datasets", json=body | {"owner": "owen"}).status_code == 403
    assert steward.post("/api/v1/datasets", json=body | {"owner": "owen"}).status_code == 201
    assert steward.post("/api/v1/datasets", json=body | {"owner": "owen"}).status_code == 409


def test_files_come_in_pages_by_path(steward, version):
    for name in ("c.csv", "a.csv", "b.csv"):
        put(steward, version, name)
    first = steward.get(f"/api/v1/dataset-versions/{version['id']}/files?limit=2").json()
    assert [f["path"] for f in first["items"]] == ["a.csv", "b.csv"]
    rest = steward.get(f"/api/v1/dataset-versions/{version['id']}/files?after={first['next']}").json()
    assert [f["path"] for f in rest["items"]] == ["c.csv"]
    assert "next" not in rest or rest["next"] is None
