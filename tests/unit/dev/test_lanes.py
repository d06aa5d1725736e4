"""Tests run in two lanes; what they say is told once, and so that a run that was stopped shows where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broch.dev import lanes, notes

LAYERS = {
    "integration/rights": "def test_it():\n    pass\n",
    "unit": "def test_it():\n    pass\n\ndef test_no():\n    assert 0, 'no good'\n",
    "cluster": "import pytest\n\ndef test_it():\n    pass\n\n@pytest.mark.skip(reason='not now')\ndef test_skip():\n    pass\n",
}


def test_each_lane_has_its_process_and_files_are_told_when_they_are_through(tmp_path):
    for layer, text in LAYERS.items():
        folder = tmp_path / "tests" / layer
        folder.mkdir(parents=True)
        (folder / f"test_{folder.name}.py").write_text(text)
        (folder / "conftest.py").write_text(
            "import os, pathlib\n\ndef pytest_runtest_call(item):\n"
            "    pathlib.Path(os.environ['SEEN'], item.nodeid.replace('/', '-')).write_text(str(os.getpid()))\n"
        )
    seen = tmp_path / "seen"
    seen.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "broch.dev.notes", "-p", "broch.dev.lanes"),
            *("-p", "xdist.plugin", "--numprocesses", "2", "--import-mode=importlib", "tests"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {"SEEN": str(seen), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", notes.STARTED: "0", notes.NOTES: "[]"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert "1 failed, 3 passed, 1 skipped" in lines[-1], done.stdout + done.stderr
    assert any("tests/cluster/test_cluster.py  1 passed, 1 skipped " in line for line in lines)
    assert any("tests/unit/test_unit.py  1 failed, 1 passed " in line for line in lines)
    assert any(line.endswith("FAILED (call) tests/unit/test_unit.py::test_no") for line in lines)
    assert any("no good" in line for line in lines)
    pids = {path.name.partition(".py")[0]: path.read_text() for path in seen.iterdir()}
    assert len(set(pids.values())) == 2


@pytest.mark.parametrize(
    ("nodeid", "lane"),
    [
        ("tests/cluster/test_hub.py::test_it", "browser"),
        ("tests/browser/test_journey.py::test_it", "browser"),
        ("tests/integration/surface/test_it.py::test_it", "surface"),
        ("tests/unit/surface/test_it.py::test_it", "other"),
        ("tests/unit/browser/test_it.py::test_it", "other"),
        ("tests/integration/up/test_up.py::test_it", "other"),
    ],
    ids=str,
)
def test_the_lane_is_of_the_layer(nodeid, lane):
    assert lanes.lane(nodeid) == lane


@pytest.mark.parametrize(
    ("layers", "cores", "parallel"),
    [
        (("unit", "cluster"), 2, True),
        (("unit", "cluster"), 1, False),
        (("unit", "integration"), 8, False),
        (("browser", "cluster"), 8, False),
    ],
)
def test_two_lanes_want_work_for_both_and_two_cores(monkeypatch, layers, cores, parallel):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert bool(lanes.options(layers)) is parallel


def test_what_is_for_either_lane_exists_and_starts_no_loop():
    folder = Path(__file__).parents[2] / "integration"
    for name in lanes.FOR_EITHER:
        texts = [path.read_text(encoding="utf-8") for path in (folder / name).glob("*.py")]
        assert texts
        assert not any("asyncio" in text for text in texts), name
