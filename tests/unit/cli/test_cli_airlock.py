"""The airlock on the command line: bring in, let out, review, and what a break or a forger can do."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from sqlmodel import select

from broch.cli import airlock_download, airlock_upload
from broch.cli.airlock_download import safe_name, save
from broch.cli.failure import Failure
from broch_airlock.tables import Upload

from .conftest import Served

TABLE = b"group,count\na,15\nb,20\n"
TABLE_SHA256 = hashlib.sha256(TABLE).hexdigest()


def released(served: Served, name: str = "table.csv") -> str:
    """Take a table the whole way out, by the command line."""
    request = served.intake.egress(TABLE, name)
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--yes", "--as", "ruth")
    served.work()
    for reviewer in ("rita", "ravi"):
        served.ok("airlock", "decide", request, name, "approve", "--yes", "--as", reviewer)
    served.work()
    assert served.json("airlock", "show", request, "--as", "ruth")["status"] == "released"
    return request


def script(served: Served, name: str = "model.py", size: int = 200_000) -> Path:
    path = served.home / name
    path.write_bytes(b"#" * size)
    return path


def uploads(served: Served) -> list[Upload]:
    with served.intake.world.store.read() as session:
        return list(session.exec(select(Upload)))


def test_a_script_comes_in_by_upload_and_submit(served: Served) -> None:
    path = script(served)
    said = served.ok(
        "airlock", "upload", str(path), "--project", "alpha", "--purpose", "Our model", "--as", "ruth"
    )
    assert hashlib.sha256(path.read_bytes()).hexdigest() in said
    [row] = served.json("airlock", "list", "--as", "ruth")
    assert (row["status"], row["direction"], row["files"], row["purpose"]) == (
        "draft",
        "ingress",
        1,
        "Our model",
    )
    served.ok("airlock", "submit", row["id"][-6:], "--yes", "--as", "ruth")
    served.work()
    assert served.json("airlock", "show", row["id"], "--as", "ruth")["status"] == "in_review"
    assert list((served.home / ".cache" / "broch").iterdir()) == []


def test_an_interrupted_upload_goes_on_where_it_was(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airlock_upload, "CHUNK", 1 << 16)
    words = ["airlock", "upload", str(script(served)), "--project", "alpha", "--as", "ruth"]
    real, calls = airlock_upload._patch, []

    def broken(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(airlock_upload, "_patch", broken)
    result = served.run(*words)
    assert result.exit_code == 130
    assert "The same command goes on from here." in result.stderr
    [begun] = uploads(served)
    assert begun.received == 2 << 16
    [memory] = (served.home / ".cache" / "broch").iterdir()
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600

    assert "has 1 files" in served.ok(*words)
    offsets = [arguments[3] for arguments in calls[3:]]
    assert offsets[0] == 2 << 16  # nothing that had arrived was sent again
    assert [upload.id for upload in uploads(served)] == [begun.id]
    assert len(served.json("airlock", "list", "--as", "ruth")) == 1


def test_a_file_that_changed_during_a_break_is_sent_from_its_beginning(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(served)
    words = ["airlock", "upload", str(path), "--project", "alpha", "--as", "ruth"]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(airlock_upload, "_patch", interrupted)
        assert served.run(*words).exit_code == 130
    path.write_bytes(b"other" * 50_000)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in served.ok(*words)


def test_what_is_there_already_is_not_sent_again(served: Served) -> None:
    path = str(script(served))
    served.ok("airlock", "upload", path, "--project", "alpha", "--as", "ruth")
    [draft] = served.json("airlock", "list", "--as", "ruth")
    before = len(uploads(served))
    again = served.run("airlock", "upload", path, "--request", draft["id"], "--as", "ruth")
    assert again.exit_code == 0
    assert "is there already" in again.stderr
    assert len(uploads(served)) == before


def test_an_empty_file_can_be_sent(served: Served) -> None:
    served.ok("airlock", "upload", str(script(served, size=0)), "--project", "alpha", "--as", "ruth")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["upload", "no-such-file", "--project", "alpha"], "cannot be read"),
        (["upload", "/dev/null", "--project", "alpha"], "not a plain file"),
        (["upload", "x"], "--project PROJECT or --request ID"),
        (["upload", "x", "--project", "alpha", "--request", "0" * 26], "--project PROJECT or --request ID"),
        (["upload", "a/x", "b/x", "--project", "alpha"], "Two files are named 'x'"),
        (["decide", "0" * 26, "x", "reject"], "--comment"),
    ],
)
def test_words_that_do_not_fit_are_refused_before_anything_happens(
    served: Served, words: list[str], reason: str
) -> None:
    assert reason in served.fails("airlock", *words, "--as", "ruth", code=2)


def test_a_name_that_may_not_cross_is_refused_by_the_server_with_its_remedy(served: Served) -> None:
    path = script(served, ".hidden")
    assert "Rename the file" in served.fails(
        "airlock", "upload", str(path), "--project", "alpha", "--as", "ruth"
    )


def test_submitting_asks_with_the_digests_and_no_means_no(served: Served) -> None:
    request = served.intake.egress(TABLE)
    words = ["airlock", "submit", request, "--purpose", "Table 2", "--as", "ruth"]
    result = served.run(*words, typed="n\n")
    assert result.exit_code == 1
    assert TABLE_SHA256 in result.stderr
    assert served.intake.status(request) == "draft"
    assert "--yes" in served.fails(*words, code=2, typed="")
    served.ok(*words, typed="y\n")
    assert served.intake.status(request) == "submitted"


def test_a_submission_needs_a_purpose(served: Served) -> None:
    request = served.intake.draft()
    assert "--purpose" in served.fails("airlock", "submit", request, "--yes", "--as", "ruth", code=2)


def test_a_result_goes_the_whole_way_and_its_receipt_verifies(served: Served) -> None:
    request = released(served)
    there = served.home / "results"
    served.ok("airlock", "download", request, "--to", str(there), "--as", "ruth")
    assert sorted(path.name for path in there.iterdir()) == [
        "receipt.json",
        "table2.csv" if False else "table.csv",
    ]
    assert (there / "table.csv").read_bytes() == TABLE
    trust = served.home / "trust.json"
    served.ok("airlock", "trust", "--to", str(trust), "--as", "ruth")
    verify = ["verify", "--trust", str(trust), str(there / "receipt.json"), str(there / "table.csv")]
    assert served.ok(*verify).endswith("VERIFIED\n")
    (there / "table.csv").write_bytes(TABLE.replace(b"15", b"16"))
    assert served.run(*verify).exit_code == 1
    assert served.ok("airlock", "receipt", request, "--as", "ruth") == (there / "receipt.json").read_text()


def test_a_download_never_writes_over_a_file_unasked(served: Served) -> None:
    request = released(served)
    words = ["airlock", "download", request, "--to", str(served.home), "--as", "ruth"]
    mine = served.home / "table.csv"
    mine.write_text("mine")
    assert "is there already" in served.fails(*words)
    assert mine.read_text() == "mine"
    assert not (served.home / "receipt.json").exists()
    served.ok(*words, "--force")
    assert mine.read_bytes() == TABLE


def test_a_result_named_like_the_receipt_does_not_hide_it(served: Served) -> None:
    request = released(served, "receipt.json")
    served.ok("airlock", "download", request, "--to", str(served.home / "r"), "--as", "ruth")
    assert (served.home / "r" / "receipt.json").read_bytes() == TABLE
    assert json.loads((served.home / "r" / f"receipt-{request}.json").read_text())["mediaType"]


def test_other_bytes_than_the_released_ones_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="not those that were released"):
        save(tmp_path / "table.csv", [b"other"], sha256=TABLE_SHA256)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path / "table.csv", [TABLE[:5], TABLE[5:]], sha256=TABLE_SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_broken_download_leaves_no_file(tmp_path: Path) -> None:
    def pieces():
        yield b"group"
        raise Failure("The connection broke.")

    with pytest.raises(Failure, match="broke"):
        save(tmp_path / "table.csv", pieces(), sha256=TABLE_SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_during_a_download_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "table.csv"

    def pieces():
        place.write_text("mine")
        yield TABLE

    with pytest.raises(Failure, match="is there already"):
        save(place, pieces())
    monkeypatch.setattr(
        airlock_download.os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "no links here"))
    )
    with pytest.raises(Failure, match="is there already"):
        save(place, [TABLE])
    assert place.read_text() == "mine"
    save(tmp_path / "other.csv", [TABLE])
    assert (tmp_path / "other.csv").read_bytes() == TABLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv", "table.csv"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\x00", "a\x1b[2J", "a\u202eb"]
)
def test_a_server_cannot_name_a_file_outside_of_the_folder(name: str) -> None:
    with pytest.raises(Failure):
        safe_name(name)
    assert safe_name("table 2.csv") == "table 2.csv"


def test_reviewers_find_requests_in_their_queue_and_stay_blind(served: Served) -> None:
    request = served.intake.egress(TABLE, "table.csv")
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--yes", "--as", "ruth")
    served.work()
    [waiting] = served.json("airlock", "queue", "--as", "rita")
    assert (waiting["id"], waiting["decided"], waiting["files"]) == (request, 0, 1)
    tail = request[-8:]
    served.ok(
        "airlock",
        "decide",
        tail,
        "table.csv",
        "changes",
        "--comment",
        "Too few in a",
        "--yes",
        "--as",
        "rita",
    )
    assert "Too few" not in served.ok("airlock", "show", tail, "--as", "ravi")
    assert "Too few" not in served.ok("airlock", "show", request, "--as", "ruth")
    served.ok("airlock", "decide", tail, "table.csv", "changes", "--comment", "Same", "--yes", "--as", "ravi")
    shown = served.ok("airlock", "show", request, "--as", "ruth")
    assert "Too few in a" in shown
    assert "returned" in shown


def test_a_decision_is_about_the_bytes_that_were_looked_at(served: Served) -> None:
    request = served.intake.egress(TABLE, "table.csv")
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--yes", "--as", "ruth")
    served.work()
    words = ["airlock", "decide", request, "table.csv", "approve", "--yes", "--as", "rita", "--sha256"]
    assert "Look at it again" in served.fails(*words, "0" * 64)
    served.ok(*words, TABLE_SHA256)
    assert "has no file 'nothing.csv'" in served.fails(
        "airlock", "decide", request, "nothing.csv", "approve", "--yes", "--as", "rita"
    )


def test_an_author_cannot_decide(served: Served) -> None:
    request = served.intake.egress(TABLE, "table.csv")
    assert "Only airlock reviewers" in served.fails(
        "airlock", "decide", request, "table.csv", "approve", "--yes", "--as", "ruth"
    )


def test_comments_are_said_and_shown(served: Served) -> None:
    request = served.intake.draft()
    served.ok("airlock", "comment", request, "Which table is this for?", "--as", "robin")
    assert "Robin: Which table is this for?" in served.ok("airlock", "show", request, "--as", "ruth")


def test_a_request_is_withdrawn_after_a_yes(served: Served) -> None:
    request = served.intake.draft()
    served.fails("airlock", "withdraw", request, "--as", "ruth", typed="n\n")
    assert served.intake.status(request) == "draft"
    served.ok("airlock", "withdraw", request, "--yes", "--as", "ruth")
    assert served.intake.status(request) == "withdrawn"


def test_a_foreign_request_is_as_if_it_did_not_exist(served: Served) -> None:
    request = served.intake.draft()
    foreign = served.fails("airlock", "show", request, "--as", "sam")
    assert foreign == served.fails("airlock", "show", "01JD3W7Z8Q5T9XK2M4N6P8R0SV", "--as", "sam")
    served.ok("airlock", "show", request, "--as", "ruth")


def test_an_empty_list_says_what_to_do_and_prints_nothing_else(served: Served) -> None:
    result = served.run("airlock", "list", "--as", "sam")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "broch airlock upload" in result.stderr
    assert served.json("airlock", "list", "--as", "sam") == []
