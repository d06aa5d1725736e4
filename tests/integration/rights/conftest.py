"""A world on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broch import migrations
from support.postgres import Cluster, cluster
from support.worlds import World, make_world


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def world(server: Cluster, tmp_path: Path) -> Iterator[World]:
    url = server.fresh()
    migrations.upgrade(url)
    made = make_world(tmp_path, url)
    yield made
    made.store.engine.dispose()
