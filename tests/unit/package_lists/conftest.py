"""The governance half with a package route that answers from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.package_lists import Lists, make_lists


@pytest.fixture
def lists(tmp_path: Path) -> Iterator[Lists]:
    """A world with a lead, two admins and a package route."""
    made = make_lists(tmp_path)
    yield made
    made.gov.world.store.engine.dispose()
