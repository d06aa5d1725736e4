"""Folders with a request right before each act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from support.fault_acts import STAGES, Stage, fresh, points, prepare


@dataclass(frozen=True)
class Prepared:
    """A folder to copy, and the points that the act passes on it."""

    name: str
    stage: Stage
    folder: Path
    request: str
    points: list[str]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    place = tmp_path_factory.mktemp("faults")
    found = {}
    for name, stage in STAGES.items():
        folder = place / name.replace(" ", "-")
        request = prepare(folder, stage)
        passed = points(fresh(folder, place / "dry"), stage, request)
        found[name] = Prepared(name, stage, folder, request, passed)
    structlog.reset_defaults()
    return found
