"""The airlock on the command line: bring in, let out, review, and what a break or a forger can do."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select, update

from broch.cli import airlock_upload
from broch_airlock.checks.model import Verdict
from broch_airlock.tables import AirlockRequest, Upload
from broch_core.clock import utc_now

from .conftest import Served

TABLE = b"group,count\na,15\nb,20\n"
TABLE_SHA256 = hashlib.sha256(TABLE).hexdigest()


def released(served: Served, name: str = "table.csv") -> str:
    """Take a table the whole way out, by the command line."""
    request = served.intake.egress(TABLE, name)
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--sha256", TABLE_SHA256, "--as", "ruth")
    served.work()
    for reviewer in ("rita", "ravi"):
        served.ok("airlock", "decide", request, name, "approve", "--sha256", TABLE_SHA256, "--as", reviewer)
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
    assert "--sha256" in served.fails(*words, code=2, typed="")
    served.ok(*words, typed="y\n")
    assert served.intake.status(request) == "submitted"


def test_a_script_lets_nothing_leave_that_it_does_not_name(served: Served) -> None:
    request = served.intake.egress(TABLE)
    words = ["airlock", "submit", request, "--purpose", "Table 2", "--as", "ruth"]
    assert "--sha256" in served.fails(*words, "--yes", code=2)
    assert "which you did not name" in served.fails(*words, "--sha256", "0" * 64)
    assert "No file has the digest" in served.fails(*words, "--sha256", TABLE_SHA256, "--sha256", "0" * 32)
    assert served.intake.status(request) == "draft"
    served.ok(*words, "--sha256", TABLE_SHA256[:32])
    assert served.intake.status(request) == "submitted"


def test_a_submission_needs_a_purpose(served: Served) -> None:
    request = served.intake.draft()
    assert "--purpose" in served.fails("airlock", "submit", request, "--yes", "--as", "ruth", code=2)


def test_a_result_goes_the_whole_way_and_its_receipt_verifies(served: Served) -> None:
    request = released(served)
    there = served.home / "results"
    served.ok("airlock", "download", request, "--to", str(there), "--as", "ruth")
    assert sorted(path.name for path in there.iterdir()) == ["receipt.json", "table.csv"]
    assert (there / "table.csv").read_bytes() == TABLE
    trust = served.home / "trust.json"
    served.ok("airlock", "trust", "--to", str(trust), "--as", "ruth")
    verify = ["verify", "--trust", str(trust), str(there / "receipt.json"), str(there / "table.csv")]
    assert served.ok(*verify).endswith("VERIFIED\n")
    (there / "table.csv").write_bytes(TABLE.replace(b"15", b"16"))
    assert served.run(*verify).exit_code == 1
    assert served.ok("airlock", "receipt", request, "--as", "ruth") == (there / "receipt.json").read_text()


def test_what_retention_deleted_has_a_certificate_that_verifies(served: Served) -> None:
    request = released(served)
    words = ["airlock", "certificate", request, "--as", "ruth"]
    assert "no deletion certificate" in served.run(*words).stderr
    with served.intake.world.store.write(housekeeping=True) as change:
        change.session.exec(
            update(AirlockRequest)
            .where(col(AirlockRequest.id) == request)
            .values(moved_at=utc_now() - timedelta(days=366))
        )
    assert served.eraser.sweep() == 1
    served.work()
    saved, trust = served.home / "certificate.json", served.home / "trust.json"
    served.ok(*words, "--to", str(saved))
    served.ok("airlock", "trust", "--to", str(trust), "--as", "ruth")
    said = served.ok("verify", "--trust", str(trust), str(saved))
    assert "deleted table.csv" in said
    assert said.endswith("VERIFIED\n")
    assert "retention" in served.run("airlock", "download", request, "--as", "ruth").stderr


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


def test_reviewers_find_requests_in_their_queue_and_stay_blind(served: Served) -> None:
    request = served.intake.egress(TABLE, "table.csv")
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--sha256", TABLE_SHA256, "--as", "ruth")
    served.work()
    [waiting] = served.json("airlock", "queue", "--as", "rita")
    assert (waiting["id"], waiting["decided"], waiting["files"]) == (request, 0, 1)
    tail = request[-8:]
    words = ["changes", "--sha256", TABLE_SHA256[:32].upper(), "--comment"]
    served.ok("airlock", "decide", tail, "table.csv", *words, "Too few in a", "--as", "rita")
    assert "Too few" not in served.ok("airlock", "show", tail, "--as", "ravi")
    assert "Too few" not in served.ok("airlock", "show", request, "--as", "ruth")
    served.ok("airlock", "decide", tail, "table.csv", *words, "Same", "--as", "ravi")
    shown = served.ok("airlock", "show", request, "--as", "ruth")
    assert "Too few in a" in shown
    assert "returned" in shown


def waiting(served: Served) -> str:
    """Return a request in review with one table."""
    request = served.intake.egress(TABLE, "table.csv")
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--sha256", TABLE_SHA256, "--as", "ruth")
    served.work()
    return request


@pytest.mark.parametrize("digest", [TABLE_SHA256, TABLE_SHA256[:32], TABLE_SHA256[:40].upper()])
def test_a_decision_is_about_the_bytes_that_were_looked_at(served: Served, digest: str) -> None:
    words = ["airlock", "decide", waiting(served), "table.csv", "approve", "--as", "rita", "--sha256"]
    assert "Look at it again" in served.fails(*words, "0" * 64)
    assert "Look at it again" in served.fails(*words, "0" * 32)
    served.ok(*words, digest)
    assert served.json("airlock", "queue", "--as", "rita")[0]["decided"] == 1


@pytest.mark.parametrize("digest", ["", TABLE_SHA256[:31], "z" * 32, TABLE_SHA256 + "0"])
def test_a_digest_that_names_nothing_is_refused(served: Served, digest: str) -> None:
    words = ["airlock", "decide", "0" * 26, "table.csv", "approve", "--as", "rita", "--sha256", digest]
    assert "first 32" in served.fails(*words, code=2)


def test_a_script_cannot_decide_on_bytes_that_it_does_not_name(served: Served) -> None:
    words = ["airlock", "decide", waiting(served), "table.csv", "approve", "--as", "rita"]
    assert "--sha256" in served.fails(*words, code=2, typed="")
    served.run(*words, "--yes")
    assert served.json("airlock", "queue", "--as", "rita")[0]["decided"] == 0


def test_a_reviewer_is_asked_with_digest_and_findings_and_no_means_no(served: Served) -> None:
    served.intake.scan.verdict = Verdict.FLAGGED
    request = waiting(served)
    words = ["airlock", "decide", request, "table.csv", "approve", "--as", "rita"]
    result = served.run(*words, typed="n\n")
    assert result.exit_code == 1
    assert TABLE_SHA256 in result.stderr
    assert "As told." in result.stderr
    assert served.json("airlock", "queue", "--as", "rita")[0]["decided"] == 0
    served.ok(*words, typed="y\n")
    assert served.json("airlock", "queue", "--as", "rita")[0]["decided"] == 1


def test_a_file_that_is_not_there_cannot_be_decided_on(served: Served) -> None:
    words = ["airlock", "decide", waiting(served), "nothing.csv", "approve", "--as", "rita"]
    assert "has no file 'nothing.csv'" in served.fails(*words)


def test_an_author_cannot_decide(served: Served) -> None:
    words = ["airlock", "decide", served.intake.egress(TABLE, "table.csv"), "table.csv", "approve"]
    assert "Only airlock reviewers" in served.fails(*words, "--as", "ruth")


def zone_folder(served: Served) -> Path:
    folder = served.intake.zones.project(served.intake.world.project.id) / "results"
    folder.mkdir()
    (folder / "table.csv").write_bytes(TABLE)
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def test_results_are_picked_from_the_zone_into_a_draft(served: Served) -> None:
    folder = zone_folder(served)
    assert "results/" in served.ok("airlock", "browse", "alpha", "--as", "ruth")
    listed = served.run("airlock", "browse", "alpha", "project", "results/", "--as", "ruth")
    assert listed.stdout.splitlines()[1].split()[0] == "results/table.csv"
    assert "passwd" not in listed.stdout
    assert "1 links" in listed.stderr
    words = ["airlock", "pick", "alpha", "project"]
    said = served.ok(*words, "results/table.csv", "--purpose", "Table 2", "--as", "ruth")
    assert TABLE_SHA256 in said
    [draft] = served.json("airlock", "list", "--as", "ruth")
    assert (draft["status"], draft["direction"], draft["purpose"]) == ("draft", "egress", "Table 2")
    (folder / "plot.png").write_bytes(b"png")
    served.ok(*words, "results/plot.png", "--request", draft["id"][-8:], "--as", "ruth")
    assert "1 files are left" in served.ok("airlock", "remove-file", draft["id"], "plot.png", "--as", "ruth")
    left = served.json("airlock", "show", draft["id"], "--as", "ruth")["file_list"]
    assert [row["name"] for row in left] == ["table.csv"]


@pytest.mark.parametrize("path", ["results/link", "results/nothing", "../escape", "/etc/passwd"])
def test_a_pick_takes_plain_files_of_the_zone_only(served: Served, path: str) -> None:
    zone_folder(served)
    served.fails("airlock", "pick", "alpha", "project", path, "--as", "ruth")
    assert served.json("airlock", "list", "--as", "ruth") == []
    served.ok("airlock", "pick", "alpha", "project", "results/table.csv", "--as", "ruth")


def test_a_zone_is_open_to_its_members_only(served: Served) -> None:
    zone_folder(served)
    project = served.intake.world.project.id
    served.fails("airlock", "browse", project, "project", "results", "--as", "sam")
    served.ok("airlock", "browse", project, "project", "results", "--as", "robin")


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
