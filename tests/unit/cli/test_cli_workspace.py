"""`broch workspace` waits for what it set in motion, and says how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from broch.cli import workspace
from broch.cli.calls import Call
from broch.cli.failure import Failure

ID = "01JD3W7Z8Q5T9XK2M4N6P8R0SV"


class FakeApi:
    """Answers with one state of a workspace after the other; the last one stays."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        self.states = [{**row(), **state} for state in states]

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        assert (path, body) in [("workspaces", {"project_id": ID}), (f"workspaces/{ID}/stop", None)]
        return self.states[0]

    def get(self, path: str) -> Any:
        if path == "sessions/current":
            return {"person": {"id": "me"}}
        assert path == f"workspaces/{ID}"
        if len(self.states) > 1:
            self.states.pop(0)
        return self.states[0]

    def pages(self, path: str, **_: Any) -> list[dict[str, Any]]:
        assert path == "workspaces"
        return [row(id="01JD3W7Z8Q5T9XK2M4N6P8ZZZZ", person={"id": "other", "handle": "other"}), row()]


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "project": {"slug": "alpha"},
        "person": {"id": "me", "handle": "ruth"},
        "status": "starting",
        "planned": False,
        "deadline_at": "2026-11-22T20:00:00Z",
        "message": None,
        "page": "http://broch.localhost:8000/projects/x/workspace",
        **changes,
    }


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_LOOK_SECONDS", 0.0)


def run(name: str, *states: dict[str, Any], what: str) -> None:
    command = next(c.callback for c in workspace.app.registered_commands if c.name == name)
    function = command.__wrapped__  # type: ignore[union-attr]
    function(Call(FakeApi(states), json=False, signed_in=True), what)  # type: ignore[arg-type]


def test_open_waits_until_it_runs_and_prints_the_address_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run("open", {}, {}, {"planned": True}, {"status": "running"}, what=ID)
    said = capsys.readouterr()
    assert said.out == "http://broch.localhost:8000/projects/x/workspace\n"
    assert said.err.splitlines()[:2] == [
        "starting: rights and data are checked",
        "starting: the sandbox starts",
    ]


def test_a_start_that_fails_says_why_in_one_line() -> None:
    failed = {"status": "failed", "message": "bubblewrap is missing.\nlog line\nlog line"}
    with pytest.raises(Failure) as caught:
        run("open", {}, failed, what=ID)
    assert caught.value.line().startswith("The workspace is failed. bubblewrap is missing. ")


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_PATIENCE_SECONDS", -1.0)
    with pytest.raises(Failure, match="still starting"):
        run("open", {}, what=ID)


@pytest.mark.parametrize("what", ["alpha", ID, ID[-6:]])
def test_stop_takes_ones_own_project_or_an_id(capsys: pytest.CaptureFixture[str], what: str) -> None:
    run("stop", {"status": "stopping"}, {"status": "stopped"}, what=what)
    assert capsys.readouterr().out == "The workspace in alpha is stopped.\n"


def test_nothing_is_stopped_that_is_not_there() -> None:
    with pytest.raises(Failure, match="no workspace 'beta'"):
        run("stop", {"status": "stopped"}, what="beta")
