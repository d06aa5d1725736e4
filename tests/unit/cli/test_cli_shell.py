"""Help, exit codes, output: what every command has in common."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from broch.cli import account, airlock, audit, dataset, lookup, output, project
from broch.cli.failure import Failure, Misused
from broch.cli.main import ENTRIES
from broch.cli.main import app as broch_app
from support.counts import count

TREES = [project.app, dataset.app, airlock.app, audit.app]


def broch(*words: str) -> str:
    result = CliRunner().invoke(broch_app, list(words), prog_name="broch", env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_first_help_names_every_command_but_hidden_ones() -> None:
    said = broch("--help")
    for name, entry in ENTRIES.items():
        assert (f" {name} " in said) is not entry.hidden


@pytest.mark.parametrize("tree", TREES)
def test_every_command_shows_an_example_in_its_help(tree) -> None:
    for command in get_command(tree).commands.values():  # type: ignore[attr-defined]
        assert command.epilog
        assert "broch " in command.epilog
        assert command.help


def test_verify_starts_without_the_rest_of_broch() -> None:
    seen = (
        "import sys; from typer.testing import CliRunner; from broch.cli.main import app; "
        "r = CliRunner().invoke(app, ['verify', '--trust', 'a', 'b', 'c']); assert r.exit_code == 2, r.output; "
        "print(*(m for m in ('httpx', 'pydantic_settings', 'sqlmodel', 'fastapi', 'broch_api') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", seen], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_no_server_is_exit_code_3_with_the_command_that_starts_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nothing else can answer there
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(broch_app, ["--server", server, "project", "list"])
    assert result.exit_code == 3
    assert result.stderr == f"broch: Nothing answers at {server}. Start it: ./broch up\n"


@pytest.mark.parametrize(
    "words", [["projct"], ["project", "lst"], ["project", "list", "--nope"], ["project", "show"]]
)
def test_wrong_words_are_exit_code_2(words: list[str]) -> None:
    assert CliRunner().invoke(broch_app, words).exit_code == 2


def test_commands_of_developers_say_where_they_run() -> None:
    result = CliRunner().invoke(broch_app, ["lint"])
    assert result.exit_code == 1
    assert "./broch lint" in result.stderr


@given(st.text(max_size=60))
@settings(max_examples=count("terminal texts never steer", ci=100, nightly=5000), deadline=None)
def test_texts_of_others_never_steer_the_terminal(text: str) -> None:
    assert output.plain(text).isprintable()
    assert Failure(text, text).line().isprintable()


def test_times_are_shown_in_the_local_zone_with_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        assert output.when("2026-11-22T00:10:00Z") == "2026-11-21 20:40 -03:30"
        assert output.when(None) == "-"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_part_of_an_id_is_enough_where_it_is_the_only_one() -> None:
    items = [{"id": "01JD3W7Z8Q5T9XK2M4N6P8R0SV"}, {"id": "01JD3W7Z8Q5T9XK2M4N6P8R0SW"}]
    assert lookup.pick("thing", "r0sw", items) == items[1]["id"]
    assert lookup.pick("thing", items[0]["id"], items) == items[0]["id"]
    with pytest.raises(Failure, match="fits 2 ids"):
        lookup.pick("thing", "01JD3W", items)
    with pytest.raises(Failure, match="no thing"):
        lookup.pick("thing", "ZZZZ", items)
    with pytest.raises(Misused):
        lookup.pick("thing", "0SW", items)


def test_whoami_is_a_command_of_its_own() -> None:
    assert get_command(account.whoami_app).name == "whoami"
