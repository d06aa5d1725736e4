"""The example in docs/examples verifies as the README says; made by tests/support/make_examples.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broch.cli.main import app as broch_app
from support.documented import ROOT, command_lines

EXAMPLES = Path("docs/examples")


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def verify(*files: Path) -> tuple[int, str]:
    result = CliRunner().invoke(broch_app, ["verify", "--trust", *map(str, files)])
    return result.exit_code, result.output


def test_the_command_of_the_readme_says_yes() -> None:
    [line] = [line for line in command_lines(Path("README.md")) if " verify " in line]
    code, said = verify(*map(Path, line.split()[3:]))
    assert code == 0
    assert said.endswith("VERIFIED\n")


@pytest.mark.parametrize("position", [0, 40, -2])
def test_one_flipped_byte_says_no_and_why(tmp_path: Path, position: int) -> None:
    table = tmp_path / "table.csv"
    data = bytearray((EXAMPLES / "table.csv").read_bytes())
    table.write_bytes(data)
    assert verify(EXAMPLES / "trust.json", EXAMPLES / "receipt.json", table)[0] == 0
    data[position] ^= 1
    table.write_bytes(data)
    code, said = verify(EXAMPLES / "trust.json", EXAMPLES / "receipt.json", table)
    assert code == 1
    assert "table.csv" in said
    assert "NOT VERIFIED" in said


def test_keys_of_another_broch_say_no(tmp_path: Path) -> None:
    trust = json.loads((EXAMPLES / "trust.json").read_text())
    trust["origin"] += "-other"
    other = tmp_path / "trust.json"
    other.write_text(json.dumps(trust))
    assert verify(other, EXAMPLES / "receipt.json", EXAMPLES / "table.csv")[0] == 1


def test_the_example_tells_of_no_small_group() -> None:
    rows = list(csv.DictReader((EXAMPLES / "table.csv").read_text().splitlines()))
    counts = [int(value) for row in rows for name, value in row.items() if name in {"n", "count"} and value]
    assert counts
    assert all(count >= 10 and count % 5 == 0 for count in counts)
