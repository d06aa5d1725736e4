"""What the tests of the gateway ask again and again, by whom, and how a refusal looks."""

from __future__ import annotations

from support.gateway import OTHER_ZONE, Answer, Rig, review

ID = "01M8PKCG5HG5K11JS54ZY5PNE8"
FILE = f"/door/v1/drafts/{ID}/files/table.csv"
BYTES = ("Content-Type", "application/octet-stream")
OWN = ("Host", "Connection")
"""Headers of the gateway's own connection."""
RUTH, IMPORTER, OTHER = "ruth.of.zone", "importer.of.zone", "other.of.zone"


def tell(rig: Rig) -> None:
    """Let three tokens be good ones."""
    rig.judge.answers = {
        RUTH: review(),
        IMPORTER: review(account="importer", pod="im-1", number=2),
        OTHER: review(OTHER_ZONE, number=3),
    }


def refused(answer: Answer, status: int) -> bool:
    """Require a refusal in words."""
    assert (answer.status, answer.header("content-type")) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["type"].startswith("https://broch.dev/problems/")
    return True
