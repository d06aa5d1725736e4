"""A control plane for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.runtime.runtime_fakes import Plane, make_plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with make_plane(tmp_path) as plane:
        yield plane
