"""docs/probes-kernel.md is the list of probes, and the list covers what it must."""

from pathlib import Path

from support.kernel_bombs import BOMBS
from support.kernel_probes import PLACES, PROBES
from support.make_probe_table import TITLES, table

PAGE = Path(__file__).parents[3] / "docs" / "probes-kernel.md"


def test_the_page_is_the_list():
    assert PAGE.read_text() == table(), "run: PYTHONPATH=tests .venv/bin/python -m support.make_probe_table"


def test_every_probe_has_a_name_of_its_own_a_place_and_a_control_elsewhere():
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    assert len({bomb.name for bomb in BOMBS}) == len(BOMBS)
    for probe in PROBES:
        assert probe.control in PLACES
        assert probe.control != "workspace"
        assert probe.group in TITLES
        assert probe.refused


def test_attacks_are_python():
    for probe in PROBES:
        compile(probe.attack, probe.name, "exec")
    for bomb in BOMBS:
        compile(bomb.code, bomb.name, "exec")
