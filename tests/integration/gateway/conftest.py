"""Gateways for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import Rig, gateway_rig
from support.gateway_calls import tell


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return an impatient gateway of this test alone."""
    with gateway_rig(tmp_path, idle_seconds=1.0, header_seconds=1.0, file_bytes=1 << 20) as running:
        tell(running)
        yield running


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Return one gateway for many refusals."""
    with gateway_rig(tmp_path_factory.mktemp("gateway")) as running:
        tell(running)
        yield running
