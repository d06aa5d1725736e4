"""Numbers of bytes for people: the same in Python and in the scripts of pages, and never 1024 of a unit."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_core.sizes import binary_size

APP = Path(__file__).parents[3] / "api" / "broch_core" / "web" / "static" / "app.js"
TABLE = {
    0: "0 B",
    1: "1 B",
    1023: "1023 B",
    1024: "1.0 KiB",
    1536: "1.5 KiB",
    1024 * 1024 - 52: "1023.9 KiB",
    1024 * 1024 - 51: "1.0 MiB",
    1024 * 1024 - 1: "1.0 MiB",
    (1 << 20): "1.0 MiB",
    (1 << 30) - 1: "1.0 GiB",
    (1 << 30): "1.0 GiB",
    2 << 30: "2.0 GiB",
    (1 << 40) - 1: "1.0 TiB",
    1 << 40: "1.0 TiB",
    (1 << 50) - 1: "1.0 PiB",
    5 << 50: "5.0 PiB",
    1 << 60: "1024.0 PiB",
}


@pytest.mark.parametrize("count", TABLE)
def test_sizes_are_written_in_the_unit_that_fits(count: int) -> None:
    assert binary_size(count) == TABLE[count]


@given(st.integers(0, (1 << 59)))
def test_no_size_is_1024_of_a_unit(count: int) -> None:
    assert not binary_size(count).startswith("1024")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the script")
def test_pages_write_sizes_as_the_server_does() -> None:
    code = APP.read_text()
    function = code[code.index("  function size(") : code.index("  window.broch =")]
    asked = f"{function}; console.log(JSON.stringify({json.dumps(list(TABLE))}.map(size)))"
    said = subprocess.run(["node", "-e", asked], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == list(TABLE.values())
