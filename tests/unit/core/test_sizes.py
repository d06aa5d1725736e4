"""Numbers of bytes for people: never 1024 of a unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_core.sizes import binary_size
from support.sizes import TABLE


@pytest.mark.parametrize("count", TABLE)
def test_sizes_are_written_in_the_unit_that_fits(count: int) -> None:
    assert binary_size(count) == TABLE[count]


@given(st.integers(0, (1 << 59)))
def test_no_size_is_1024_of_a_unit(count: int) -> None:
    assert not binary_size(count).startswith("1024")
