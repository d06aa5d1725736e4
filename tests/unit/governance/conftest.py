"""The governance half of the control plane on a small world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.governance import Governance, make_governance


@pytest.fixture
def gov(tmp_path: Path) -> Iterator[Governance]:
    governance = make_governance(tmp_path)
    yield governance
    governance.world.store.engine.dispose()
