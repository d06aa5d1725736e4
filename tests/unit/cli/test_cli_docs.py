"""docs/cli.md has every command, and every command line in it is one. That they work: tests/integration/cli."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from broch.cli import airlock, audit, dataset, keycloak, packages, people, project, workspace
from broch.cli.main import ENTRIES
from broch.cli.main import app as broch_app
from support.documented import command_lines

LINES = [line for line in command_lines(Path("docs/cli.md")) if line.startswith("broch ")]
GROUPS = {
    "project": project.app,
    "workspace": workspace.app,
    "dataset": dataset.app,
    "packages": packages.app,
    "people": people.app,
    "airlock": airlock.app,
    "audit": audit.app,
    "keycloak": keycloak.app,
}


def test_every_command_is_documented() -> None:
    wanted = {name for name, entry in ENTRIES.items() if entry.module and not entry.hidden} - GROUPS.keys()
    wanted |= {f"{group} {name}" for group, app in GROUPS.items() for name in get_command(app).commands}  # type: ignore[attr-defined]
    shown = {
        words[1] if words[1] not in GROUPS else " ".join(words[1:3]) for words in map(shlex.split, LINES)
    }
    assert shown == wanted


@pytest.mark.parametrize("line", LINES)
def test_documented_command_lines_are_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    command, context = get_command(broch_app), None
    while hasattr(command, "commands"):
        context = command.make_context("broch", words, parent=context)
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None, name
    command.make_context(line, words, parent=context)  # raises where a word does not fit
