"""Bytes that nobody needs any more go, also when the store refuses at first."""

from __future__ import annotations

import pytest

from broch_core.blobs import BlobClass
from broch_core.errors import Unavailable
from support.intake import API, Intake


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_bytes_that_were_taken_out_go_also_when_the_store_refuses_at_first(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Afterwards no row names them: nobody else would ever find them."""
    draft = intake.draft()
    file = intake.put(draft, "names.csv", b"patient,age\n").json()
    there = (intake.world.project.id, BlobClass.DRAFT, file["sha256"])
    delete = type(intake.blobs).delete

    def refused(*_: object) -> None:
        raise Unavailable("SlowDown")

    monkeypatch.setattr(type(intake.blobs), "delete", refused)
    if how == "removed":
        url = f"{API}/requests/{draft}/files/{file['id']}"
        assert intake.client.delete(url, headers=intake.of("ruth")).status_code == 200
    else:
        assert intake.put(draft, "names.csv", b"group,count\n").status_code in {200, 201}
    assert intake.blobs.exists(*there)
    monkeypatch.setattr(type(intake.blobs), "delete", delete)
    intake.outbox.run_due()
    assert not intake.blobs.exists(*there)
