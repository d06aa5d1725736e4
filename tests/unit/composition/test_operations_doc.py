"""docs/operations.md says what is."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broch import doctor
from broch.cli.main import ENTRIES, app
from broch.supervisor import LOG_BYTES
from broch_core.settings import Settings
from broch_workspaces.sandbox.probe import Machine

DOC = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("BROCH_")]:
        monkeypatch.delenv(name)


def test_the_table_of_settings_is_the_one_that_the_command_prints():
    printed = CliRunner().invoke(app, ["config", "--markdown"]).stdout.strip()
    assert len(printed.splitlines()) == len(Settings.model_fields) + 2
    assert printed in DOC, "run: broch config --markdown, and put its table into docs/operations.md"


def test_every_command_in_it_exists():
    named = set(re.findall(r"`broch (\w+)", DOC))
    assert {"up", "doctor", "config"} <= named <= set(ENTRIES)


def test_every_finding_of_the_doctor_is_explained(tmp_path):
    findings = doctor.examine(Settings(folder=tmp_path), Machine(search_path=str(tmp_path)))
    section = DOC.partition("## What the doctor says")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert {finding.name.split()[0] for finding in findings} | {"running"} == explained


def test_numbers_in_it_are_those_in_force():
    assert f"larger than {LOG_BYTES >> 20} MiB" in DOC
    assert f"{doctor.LEAST_FREE_BYTES >> 30} GiB free" in DOC
