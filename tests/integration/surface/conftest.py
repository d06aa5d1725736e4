"""One Broch for the tests of its whole surface."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.surface import Surface, close_surface
from support.surface_world import make_surface


@pytest.fixture(scope="session")
def surface_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    """Make the world with something in every state."""
    folder: Path = tmp_path_factory.mktemp("surface")
    surface = make_surface(folder)
    yield surface
    close_surface(surface)


@pytest.fixture
def surface(surface_once: Surface) -> Surface:
    """Return the world as it was made."""
    surface_once.put_back()
    return surface_once
