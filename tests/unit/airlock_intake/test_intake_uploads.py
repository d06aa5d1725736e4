"""Uploads: tus 1.0.0 and the plain PUT."""

import hashlib
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from broch_airlock.tables import AirlockBytes, AirlockFile, Upload
from broch_airlock.uploads.partials import Partials
from broch_airlock.uploads.service import UploadDesk
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Invalid
from support.counts import count
from support.intake import API, TUS, Intake, make_intake

HOSTILE = {
    "nul": "a\0b.csv",
    "traversal": "../../etc/passwd",
    "dots": "..",
    "empty": "",
    "separator": "a/b.csv",
    "backslash": "a\\b.csv",
    "bidi": "invoice\u202efdp.exe",
    "control": "a\nb.csv",
    "escape": "a\x1b[2J.csv",
    "not-nfc": "cafe\u0301.csv",
    "too-long": "a" * 252 + ".csv",
    "too-long-utf8": "ä" * 128,
    "hidden": ".bashrc",
    "dash": "-rf",
    "trailing-dot": "a.csv.",
    "trailing-space": "a.csv ",
    "device": "CON.txt",
    "surrogate": "a\ud800.csv",
    "no-break-space": "a\u00a0b.csv",
    "zero-width": "a\u200bb.csv",
    "stream": "a.csv:secret",
}
GOOD = [
    "table2.csv",
    "résumé.pdf".encode().decode(),
    "図1.png",
    "a b (1).txt",
    "Makefile",
    "a.tar.gz",
    "n" * 251 + ".csv",
]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_is_refused_with_its_reason(intake: Intake, name: str) -> None:
    draft = intake.draft()
    answer = intake.begin_upload(draft, name, 5)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20
    assert intake.read(draft)["files"] == 0


@pytest.mark.parametrize("name", GOOD)
def test_an_ordinary_name_is_taken(intake: Intake, name: str) -> None:
    assert intake.begin_upload(intake.draft(), name, 5).status_code == 201


def test_the_reason_names_the_rule(intake: Intake) -> None:
    draft = intake.draft()
    assert intake.begin_upload(draft, HOSTILE["bidi"], 5).json()["rule"] == "bidi"
    assert intake.begin_upload(draft, HOSTILE["nul"], 5).json()["rule"] == "nul"


def test_an_upload_in_parts_becomes_a_file_with_the_digest_of_the_whole(intake: Intake) -> None:
    draft, data = intake.draft(), bytes(range(256)) * 1000
    made = intake.begin_upload(draft, "model.bin", len(data))
    url = made.headers["location"]
    assert (made.status_code, made.headers["upload-offset"], made.headers["tus-resumable"]) == (
        201,
        "0",
        "1.0.0",
    )
    for start in range(0, len(data), 100_000):
        answer = intake.patch(url, start, data[start : start + 100_000])
        assert answer.status_code == 204
        assert answer.headers["upload-offset"] == str(min(start + 100_000, len(data)))
    [file] = intake.read(draft)["file_list"]
    assert (file["name"], file["size"], file["sha256"]) == (
        "model.bin",
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert intake.kept(BlobClass.DRAFT, data)
    assert list((intake.blobs.uploads).iterdir()) == []


def test_an_empty_file_arrives_with_its_creation(intake: Intake) -> None:
    draft = intake.draft()
    assert intake.begin_upload(draft, "empty.txt", 0).status_code == 201
    assert intake.read(draft)["file_list"][0]["size"] == 0


def test_a_replayed_part_is_refused_and_changes_nothing(intake: Intake) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.csv", 10).headers["location"]
    assert intake.patch(url, 0, b"01234").status_code == 204
    replay = intake.patch(url, 0, b"XXXXX")
    assert replay.status_code == 409
    assert replay.headers["tus-resumable"] == "1.0.0"
    assert intake.patch(url, 5, b"56789").status_code == 204
    assert intake.patch(url, 10, b"").status_code == 409  # it is a file now
    assert intake.read(draft)["file_list"][0]["sha256"] == hashlib.sha256(b"0123456789").hexdigest()


def test_more_than_was_announced_is_refused(intake: Intake) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.csv", 4).headers["location"]
    assert intake.patch(url, 0, b"12345").status_code == 413

    def endless():
        for _ in range(1000):
            yield b"x" * 65536

    assert intake.patch(url, 0, endless()).status_code == 413
    assert intake.patch(url, 0, b"1234").status_code == 204


def test_a_second_writer_is_told_to_wait(intake: Intake) -> None:
    url = intake.begin_upload(intake.draft(), "a.csv", 4).headers["location"]
    desk: UploadDesk = intake.services[UploadDesk]
    with desk.begin(intake.world.actor("ruth"), url.rsplit("/", 1)[1], 0):
        assert intake.patch(url, 0, b"1234").status_code == 423
        assert intake.client.delete(url, headers={**intake.of("ruth"), **TUS}).status_code == 423
    assert intake.patch(url, 0, b"1234").status_code == 204


def test_a_restart_keeps_what_was_acknowledged_and_cuts_off_the_rest(intake: Intake, tmp_path) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.csv", 10).headers["location"]
    upload_id = url.rsplit("/", 1)[1]
    assert intake.patch(url, 0, b"01234").status_code == 204
    desk: UploadDesk = intake.services[UploadDesk]
    with desk.partials.path(upload_id).open("ab") as file:
        file.write(b"torn")  # came, but was never acknowledged
    desk.partials = Partials(intake.blobs.uploads)  # a new process remembers no digest
    desk.recover()
    head = intake.client.head(url, headers={**intake.of("ruth"), **TUS})
    assert (head.status_code, head.headers["upload-offset"], head.headers["upload-length"]) == (
        200,
        "5",
        "10",
    )
    assert intake.patch(url, 5, b"56789").status_code == 204
    assert intake.read(draft)["file_list"][0]["sha256"] == hashlib.sha256(b"0123456789").hexdigest()


def test_an_upload_cut_off_before_its_end_was_noted_is_finished_when_asked(intake: Intake) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.csv", 5).headers["location"]
    desk: UploadDesk = intake.services[UploadDesk]
    with desk.begin(intake.world.actor("ruth"), url.rsplit("/", 1)[1], 0) as writing:
        writing.write(b"01234")  # all bytes are there; the process dies before `finish`
    assert intake.read(draft)["files"] == 0
    assert intake.client.head(url, headers={**intake.of("ruth"), **TUS}).headers["upload-offset"] == "5"
    assert intake.read(draft)["file_list"][0]["sha256"] == hashlib.sha256(b"01234").hexdigest()


def test_a_dropped_upload_is_gone_with_its_bytes(intake: Intake) -> None:
    url = intake.begin_upload(intake.draft(), "a.csv", 5).headers["location"]
    assert intake.client.delete(url, headers={**intake.of("ruth"), **TUS}).status_code == 204
    assert intake.client.head(url, headers={**intake.of("ruth"), **TUS}).status_code == 404
    assert list(intake.blobs.uploads.iterdir()) == []


def test_an_expired_upload_is_gone(intake: Intake) -> None:
    url = intake.begin_upload(intake.draft(), "a.csv", 5).headers["location"]
    with intake.world.store.write(housekeeping=True) as change:
        upload = change.session.exec(select(Upload)).one()
        upload.expires_at = utc_now()
        change.session.add(upload)
    assert intake.patch(url, 0, b"1").status_code == 410
    assert intake.services[UploadDesk].expire() == 1
    assert intake.client.head(url, headers={**intake.of("ruth"), **TUS}).status_code == 404
    assert list(intake.blobs.uploads.iterdir()) == []


def test_a_file_of_ten_gibibytes_is_refused_before_its_first_byte(intake: Intake) -> None:
    draft = intake.draft()
    answer = intake.begin_upload(draft, "huge.bin", 10 << 30)
    assert answer.status_code == 413
    assert "at most" in answer.json()["detail"]
    assert intake.begin_upload(draft, "fits.bin", 1 << 20).status_code == 201


def test_files_beyond_the_most_are_refused_cheaply(intake: Intake) -> None:
    draft = intake.draft()
    for number in range(5):
        assert intake.put(draft, f"f{number}.csv", b"%d" % number).status_code == 201
    assert intake.put(draft, "f5.csv", b"x").status_code == 413
    assert intake.begin_upload(draft, "f6.csv", 1).status_code == 413
    assert intake.put(draft, "f4.csv", b"replaced").status_code == 201
    assert intake.read(draft)["files"] == 5


def test_a_hundred_thousand_files_in_a_submission_are_refused_by_shape(intake: Intake) -> None:
    draft = intake.draft()
    listed = [{"file_id": draft, "sha256": "0" * 64}] * 100_000
    assert intake.submit(draft, files=listed).status_code == 413
    assert intake.submit(draft, files=listed[:1001]).status_code == 422


def test_open_uploads_are_counted(intake: Intake) -> None:
    draft = intake.draft()
    answers = [intake.begin_upload(draft, f"f{number}.csv", 1).status_code for number in range(6)]
    assert answers == [201] * 5 + [413]


def test_tus_is_discovered_and_other_versions_are_refused(intake: Intake) -> None:
    answer = intake.client.options(f"{API}/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {"creation", "expiration", "termination"}
    url = intake.begin_upload(intake.draft(), "a.csv", 5).headers["location"]
    old = intake.client.head(url, headers={**intake.of("ruth"), "Tus-Resumable": "0.2.2"})
    assert (old.status_code, old.headers["tus-version"]) == (412, "1.0.0")
    wrong = intake.client.patch(
        url,
        content=b"x",
        headers={**intake.of("ruth"), **TUS, "Upload-Offset": "0", "Content-Type": "text/plain"},
    )
    assert wrong.status_code == 415


@pytest.mark.parametrize("handle", ["robin", "sam", "rita", "ada"])
def test_nobody_but_the_author_touches_an_upload(intake: Intake, handle: str) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.csv", 5).headers["location"]
    expected = 403 if handle == "robin" else 404
    headers = {**intake.of(handle), **TUS}
    assert intake.client.head(url, headers=headers).status_code == expected
    assert intake.patch(url, 0, b"12345", handle).status_code == expected
    assert intake.client.delete(url, headers=headers).status_code == expected
    assert intake.begin_upload(draft, "b.csv", 5, handle).status_code == expected
    assert intake.put(draft, "b.csv", b"x", handle).status_code == expected
    assert intake.patch(url, 0, b"12345").status_code == 204


def test_the_same_name_replaces_the_bytes_of_a_draft(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.csv", b"one")
    intake.put(draft, "a.csv", b"two")
    [file] = intake.read(draft)["file_list"]
    assert file["sha256"] == hashlib.sha256(b"two").hexdigest()
    assert not intake.kept(BlobClass.DRAFT, b"one")
    assert intake.kept(BlobClass.DRAFT, b"two")
    with intake.world.store.read() as session:
        assert [row.sha256 for row in session.exec(select(AirlockBytes))] == [file["sha256"]]


def test_bytes_that_another_draft_needs_stay(intake: Intake) -> None:
    first, second = intake.draft(), intake.draft()
    intake.put(first, "a.csv", b"same")
    intake.put(second, "b.csv", b"same")
    intake.put(first, "a.csv", b"other")
    assert intake.kept(BlobClass.DRAFT, b"same")
    intake.put(second, "b.csv", b"other")
    assert not intake.kept(BlobClass.DRAFT, b"same")


def test_a_put_longer_than_the_limit_leaves_nothing(intake: Intake) -> None:
    draft = intake.draft()

    def long():
        for _ in range(20):
            yield b"x" * 65536

    assert intake.put(draft, "a.bin", long()).status_code == 413
    assert intake.read(draft)["files"] == 0
    assert list(intake.blobs.temporary.iterdir()) == []


def test_a_put_of_another_type_is_refused(intake: Intake) -> None:
    draft = intake.draft()
    answer = intake.client.put(
        f"{API}/requests/{draft}/files/a.csv",
        content=b"x",
        headers={**intake.of("ruth"), "Content-Type": "text/csv"},
    )
    assert answer.status_code == 415


def test_two_puts_of_one_name_at_once_leave_one_file(intake: Intake) -> None:
    draft = intake.draft()
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda data=data: codes.append(intake.put(draft, "a.csv", data).status_code))
        for data in (b"one" * 1000, b"two" * 1000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [201, 201]
    with intake.world.store.read() as session:
        [file] = session.exec(select(AirlockFile)).all()
    assert intake.blobs.path(intake.world.project.id, BlobClass.DRAFT, file.sha256).exists()


@given(parts=st.lists(st.binary(max_size=3000), max_size=8))
@settings(
    max_examples=count("any split of a file gives the digest of the whole", ci=20, nightly=500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_split_of_a_file_gives_the_digest_of_the_whole(tmp_path, parts: list[bytes]) -> None:
    partials = Partials(tmp_path / "partials")
    partials.drop("u")
    partials.create("u")
    offset = 0
    for number, part in enumerate(parts):
        if number % 3 == 2:
            partials = Partials(tmp_path / "partials")  # as after a restart
        with partials.claim("u"), partials.open("u", offset) as appender:
            appender.write(part)
            offset = appender.sync()
    with partials.claim("u"), partials.open("u", offset) as appender:
        assert appender.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    "metadata", ["", "filename", "filename ***", "filename YQ==,filename Yg==", "x YQ==", "filename gIA="]
)
def test_malformed_metadata_is_refused(intake: Intake, metadata: str) -> None:
    headers = {**intake.of("ruth"), **TUS, "Upload-Length": "5", "Upload-Metadata": metadata}
    answer = intake.client.post(f"{API}/requests/{intake.draft()}/uploads", headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize("length", ["-1", "", "x", "1e3", "9" * 30, "٣"])
def test_a_malformed_length_is_refused(intake: Intake, length: str) -> None:
    headers = {
        **intake.of("ruth"),
        **TUS,
        "Upload-Length": length.encode(),
        "Upload-Metadata": "filename YQ==",
    }
    answer = intake.client.post(f"{API}/requests/{intake.draft()}/uploads", headers=headers)
    assert answer.status_code == 422


def test_a_frozen_project_takes_no_bytes(tmp_path) -> None:
    from broch_core.lifecycles import ProjectStatus

    intake = make_intake(tmp_path)
    draft = intake.draft()
    with intake.world.store.write(housekeeping=True) as change:
        project = change.session.merge(intake.world.project)
        project.status = ProjectStatus.FROZEN
    assert intake.put(draft, "a.csv", b"x").status_code == 409
    answer = intake.client.post(
        f"{API}/requests", json={"project_id": intake.world.project.id}, headers=intake.of("ruth")
    )
    assert answer.status_code == 409


def test_metadata_without_a_name_is_invalid() -> None:
    from broch_airlock.uploads.service import file_name_of

    with pytest.raises(Invalid):
        file_name_of("filetype dGV4dA==")
    assert file_name_of("filetype dGV4dA==,filename YS5jc3Y=") == "a.csv"


def test_every_file_is_told_of_once_it_is_taken_and_no_other(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.csv", b"plain")
    begun = intake.begin_upload(draft, "b.csv", 4)
    intake.patch(begun.headers["location"], 0, b"part")
    assert intake.put(draft, "../c.csv", b"refused").status_code >= 400
    told = [(file.name, file.sha256, file.path.read_bytes(), file.project_id) for file in intake.taken]
    project = intake.world.project.id
    assert told == [
        (name, hashlib.sha256(data).hexdigest(), data, project)
        for name, data in (("a.csv", b"plain"), ("b.csv", b"part"))
    ]
