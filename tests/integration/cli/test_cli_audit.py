"""Auditors on the command line: what they kept and copied is checked on their side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.cli.conftest import Served


@pytest.fixture
def trust(served: Served) -> Path:
    path = served.home / "trust.json"
    path.write_bytes(served.intake.world.keys.trust().dump())
    served.ok("login", "--as", "ada")
    served.work()
    return path


def happen(served: Served, title: str) -> None:
    served.ok("dataset", "create", title, "--title", "Scans", "--owner", "owen", "--as", "stella")
    served.work()
    served.intake.world.audit_log.sequence()


def test_a_checkpoint_that_was_kept_is_checked_by_who_kept_it(served: Served, trust: Path) -> None:
    happen(served, "scans")
    kept = served.home / "checkpoint.txt"
    served.ok("audit", "checkpoint", "--to", str(kept))
    happen(served, "more-scans")
    says = served.ok("audit", "verify", "--checkpoint", str(kept), "--trust", str(trust))
    assert "continues the trusted checkpoint" in says
    assert "Checked here" in says
    note = kept.read_text()
    size = note.split("\n")[1]
    kept.write_text(note.replace(f"\n{size}\n", f"\n{int(size) + 1}\n"))
    assert "cannot be used" in served.fails(
        "audit", "verify", "--checkpoint", str(kept), "--trust", str(trust)
    )


def test_a_mirror_grows_and_the_log_is_held_against_it(served: Served, trust: Path) -> None:
    happen(served, "scans")
    copy = str(served.home / "copy")
    size = served.json("audit", "mirror", "--to", copy, "--trust", str(trust))["size"]
    happen(served, "more-scans")
    again = served.json("audit", "mirror", "--to", copy, "--trust", str(trust))
    assert again["size"] == size + again["added"] > size
    assert "continues them" in served.ok("audit", "verify", "--against", copy, "--trust", str(trust))
    assert "as they were signed" in served.ok(
        "audit", "verify", "--against", copy, "--offline", "--trust", str(trust)
    )
    first = next(iter(sorted((Path(copy) / "records").iterdir())))
    data = first.read_bytes()
    first.chmod(0o600)
    first.write_bytes(data.replace(b"allowed", b"granted", 1))
    assert "NOT as it was signed" in served.fails("audit", "verify", "--against", copy, "--trust", str(trust))


def test_a_database_is_verified_without_its_server(served: Served, trust: Path) -> None:
    happen(served, "scans")
    folder = str(served.intake.world.folder)
    words = ["audit", "verify", "--offline", "--dir", folder, "--trust", str(trust)]
    assert "as they were signed" in served.ok(*words)
    assert "--trust" in served.fails("audit", "verify", "--offline", "--dir", folder, code=2)


def test_proofs_erasure_and_rotation_have_commands(served: Served, trust: Path) -> None:
    happen(served, "scans")
    sizes = [row["size"] for row in served.json("audit", "checkpoints")]
    assert sizes == sorted(sizes, reverse=True)
    assert served.json("audit", "consistency", "1", str(sizes[0]))["hashes"]
    assert "are erased" in served.ok("audit", "erase", "stella", "--yes")
    assert "Signs from now on: checkpoint key" in served.ok("audit", "rotate-key", "checkpoint")
    assert "were erased" in served.ok("audit", "verify")
    events = served.ok("audit", "export", "--format", "ocsf").splitlines()
    assert {json.loads(line)["class_uid"] for line in events} == {6003}
