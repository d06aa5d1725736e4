"""Pytest plugin: two lanes of tests side by side, each in a process of its own.

One lane sits at a browser: Playwright's loop stays in its thread until the end, and many a test of the other lane
starts a loop itself. While the cluster is being built, that lane drives the browser on one machine.
"""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

AT_A_BROWSER = ("browser", "cluster")
FOR_EITHER = ("proof_audit", "rights", "sandboxes", "surface", "terraform")
"""Folders of tests/integration that the lane runs which is through first. They start no loop of their own."""
_LANES = ("browser", "other")


def options(layers: Sequence[str]) -> list[str]:
    """Return pytest's options to run these layers: in two lanes where both have work and there are two cores."""
    lanes = {layer in AT_A_BROWSER for layer in layers}
    if len(lanes) < 2 or (os.cpu_count() or 1) < 2:
        return []
    return ["-p", "broch.dev.lanes", "--numprocesses", "2"]


def lane(nodeid: str) -> str:
    """Return the lane of a test, or the folder that is for either."""
    if nodeid.startswith(tuple(f"tests/{layer}/" for layer in AT_A_BROWSER)):
        return "browser"
    layer, folder = nodeid.split("/")[1:3]
    return folder if layer == "integration" and folder in FOR_EITHER else "other"


class _Lanes(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what is for either lane."""
    items.sort(key=lambda item: lane(item.nodeid) not in _LANES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give each process the tests of one lane, in their order."""
    return _Lanes(config, log)
