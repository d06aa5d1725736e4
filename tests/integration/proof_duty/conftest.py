"""One Broch with something in every state, and a PostgreSQL."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from support.postgres import Cluster, cluster
from support.surface import Surface, close_surface
from support.surface_world import make_surface


@pytest.fixture(scope="session")
def surface_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    """Make the world with something in every state."""
    folder: Path = tmp_path_factory.mktemp("duty")
    surface = make_surface(folder)
    yield surface
    close_surface(surface)


@pytest.fixture
def surface(surface_once: Surface) -> Surface:
    """Return the world as it was made."""
    surface_once.put_back()
    return surface_once


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """Run a PostgreSQL."""
    with cluster() as running:
        yield running


@pytest.fixture(autouse=True, scope="session")
def quiet() -> Iterator[None]:
    """Log no errors: they are wanted here by the hundred, and printing one takes longer than making it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
