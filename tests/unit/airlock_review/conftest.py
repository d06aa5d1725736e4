"""Fixtures of review and release tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.reviews import ReviewWorld


@pytest.fixture
def place(tmp_path: Path) -> ReviewWorld:
    return ReviewWorld(tmp_path)
