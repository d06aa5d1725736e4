"""Room on the disk: what is left free stays free, and people are told."""

import pytest

from support.intake import Intake


def test_a_full_disk_is_said_so(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = intake.draft()
    monkeypatch.setattr("broch_airlock.uploads.space.SPARE_BYTES", 1 << 62)
    answer = intake.begin_upload(draft, "a.csv", 1)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (507, "no-space")
    assert intake.put(draft, "a.csv", b"x").status_code == 507


def test_what_is_left_free_stays_free_while_bytes_come(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a body without a length nothing is known before, and others write at the same time."""
    draft, url = intake.draft(), intake.begin_upload(intake.draft(), "b.csv", 10).headers["location"]

    def body():
        yield b"01234"
        monkeypatch.setattr("broch_airlock.uploads.space.SPARE_BYTES", 1 << 62)
        yield b"56789"

    assert intake.put(draft, "a.csv", body()).status_code == 507
    assert intake.read(draft)["files"] == 0
    assert list(intake.blobs.temporary.iterdir()) == []
    monkeypatch.undo()
    assert intake.patch(url, 0, body()).status_code == 507
    monkeypatch.undo()
    assert intake.patch(url, 0, b"0123456789").status_code == 204
    assert intake.put(draft, "a.csv", b"x").status_code == 201


def test_more_than_can_be_checked_together_is_refused_when_it_is_sent(intake: Intake) -> None:
    """Later it would be fetched and refused again and again, and nobody would know why."""
    draft, mib = intake.draft(), 1 << 20
    for name in ("a.bin", "b.bin", "c.bin"):
        assert intake.put(draft, name, name.encode() * (mib // 5)).status_code == 201
    for answer in (intake.put(draft, "d.bin", b"x" * mib), intake.begin_upload(draft, "d.bin", mib)):
        assert answer.status_code == 413
        assert "can be checked in one request" in answer.json()["detail"]
        assert "another request" in answer.json()["remedy"]
    assert [file["name"] for file in intake.read(draft)["file_list"]] == ["a.bin", "b.bin", "c.bin"]

    def unknown_length():
        yield b"y" * mib

    assert intake.put(draft, "d.bin", unknown_length()).status_code == 413
    assert intake.put(draft, "a.bin", b"y" * mib).status_code in {200, 201}, "in the place of as many"
    assert intake.put(intake.draft(), "d.bin", b"x" * mib).status_code == 201
