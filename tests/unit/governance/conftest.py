"""The governance half of the control plane on a small world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.governance import Governance, make_governance


@pytest.fixture
def gov(tmp_path: Path) -> Iterator[Governance]:
    governance = make_governance(tmp_path)
    yield governance
    governance.world.store.engine.dispose()


@pytest.fixture
def steward(gov: Governance) -> Any:
    return gov.api("stella")


@pytest.fixture
def version(steward: Any) -> dict[str, Any]:
    """Return an open version of a new dataset."""
    dataset = steward.post(
        "/api/v1/datasets", json={"slug": "cells", "title": "Cells", "owner": "owen"}
    ).json()
    made: dict[str, Any] = steward.post(f"/api/v1/datasets/{dataset['id']}/versions").json()
    return made
