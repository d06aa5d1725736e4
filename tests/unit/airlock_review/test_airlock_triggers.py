"""The database keeps the airlock's promises on SQLite."""

from __future__ import annotations

import pytest

from support.reviews import ReviewWorld
from support.trigger_cases import REFUSED, assert_allowed, assert_refused


@pytest.mark.parametrize("name", REFUSED)
def test_the_database_refuses(place: ReviewWorld, name: str):
    assert_refused(place, name)


def test_the_database_allows_the_same_rows_in_the_right_order(place: ReviewWorld):
    assert_allowed(place)
