"""How commands end when they cannot do what was asked, against a server that answers."""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import Served


def test_another_program_at_the_address_is_named_as_such(served: Served) -> None:
    # Our own server answers an unknown path in its own words; a host it does not serve shows the other case.
    assert "not served here" in served.fails(
        "project", "list", "--server", served.server.replace("127.0.0.1", "localhost")
    )


def test_a_failure_is_one_line_and_no_traceback(served: Served) -> None:
    result = served.run("project", "show", "nothing-here", "--as", "ruth")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("broch: There is no project 'nothing-here'")


def test_the_real_program_prints_no_colour_into_a_pipe(served: Served) -> None:
    environment = {**os.environ, **{k: v for k, v in served.environment.items() if v is not None}}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "broch.cli.main", "--as", "ada", "project", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["SLUG", "beta", "alpha"]
