"""Releases on the command line of an admin: recalled, and tried again."""

from __future__ import annotations

from broch_core.blobs import BlobClass

from .conftest import Served
from .test_cli_airlock import TABLE, TABLE_SHA256, released


def test_an_admin_recalls_a_release_and_its_receipt_turns_down(served: Served) -> None:
    request = released(served)
    assert [row["id"] for row in served.json("airlock", "releases", "--as", "ada")] == [request]
    folder = served.home / "got"
    served.ok("airlock", "download", request, "--to", str(folder), "--as", "ruth")
    trust, recalls = str(folder / "trust.json"), str(folder / "recalls.json")
    served.ok("airlock", "trust", "--to", trust, "--as", "ruth")
    verify = [
        "verify",
        "--trust",
        trust,
        "--recalls",
        recalls,
        str(folder / "receipt.json"),
        str(folder / "table.csv"),
    ]
    served.ok("airlock", "recalls", "--to", recalls, "--as", "ruth")
    served.ok(*verify)
    words = ["airlock", "recall", request[-8:], "--reason", "Single patients.", "--as"]
    assert "Only a platform admin" in served.fails(
        "airlock", "recall", request, "--reason", "x", "-y", "--as", "ruth"
    )
    assert served.run(*words, "ada", typed="n\n").exit_code != 0
    assert "is recalled" in served.ok(*words, "ada", typed="y\n")
    assert (
        "not released"
        in served.run("airlock", "download", request, "--to", str(folder / "x"), "--as", "ruth").stderr
    )
    served.ok("airlock", "recalls", "--to", recalls, "--force", "--as", "ruth")
    result = served.run(*verify)
    assert result.exit_code == 1
    assert "was recalled at" in result.output


def test_an_admin_tries_a_failed_release_again(served: Served) -> None:
    request = served.intake.egress(TABLE, "table.csv")
    served.ok("airlock", "submit", request, "--purpose", "Table 2", "--sha256", TABLE_SHA256, "--as", "ruth")
    served.work()
    project = served.intake.world.project.id
    held = served.intake.blobs.path(project, BlobClass.HELD, TABLE_SHA256)
    for reviewer in ("rita", "ravi"):
        served.ok(
            "airlock", "decide", request, "table.csv", "approve", "--sha256", TABLE_SHA256, "--as", reviewer
        )
    held.rename(held.with_suffix(".away"))
    served.work()
    assert served.json("airlock", "releases", "--as", "ada")[0]["status"] == "failed"
    held.with_suffix(".away").rename(held)
    assert "releasing" in served.ok("airlock", "retry", request[-8:], "--as", "ada")
    served.work()
    assert served.json("airlock", "show", request, "--as", "ruth")["status"] == "released"
    assert "not possible now" in served.run("airlock", "retry", request, "--as", "ada").stderr
