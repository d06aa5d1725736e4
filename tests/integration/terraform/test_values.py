"""The part of the module `platform` that needs no provider: variables, what is refused, the chart's values."""

from __future__ import annotations

import re
from pathlib import Path

from broch.dev.terraform import format_problems
from support import terraform


def test_everything_is_in_the_one_format():
    assert format_problems(terraform.ROOT) == ""


def test_variables_are_refused_with_a_reason_and_become_the_charts_values(tmp_path: Path):
    program = terraform.ready(tmp_path)
    module = terraform.copy_values(tmp_path)
    program.run(module, "init", "-input=false")
    program.run(module, "validate")
    said = program.run(module, "test").stdout
    counted = re.search(r"(\d+) passed, 0 failed", said)
    runs = (module / "tests" / "values.tftest.hcl").read_text().count('\nrun "')
    assert counted, said
    assert int(counted[1]) == runs
