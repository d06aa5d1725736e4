"""Package routes for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.packages import World, package_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a package route of this test alone."""
    with package_world(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return one package route for many refusals."""
    with package_world(tmp_path_factory.mktemp("packages")) as running:
        yield running
