"""The spawner's clock and its reports: a deadline kills, a report that nobody took is told again."""

import asyncio
import subprocess
from types import SimpleNamespace

import pytest

from broch_spawner import sandbox_spawner
from broch_spawner.control import ControlPlaneError
from broch_spawner.sandbox_spawner import SandboxSpawner


class Control:
    """A control plane that is away for the first reports."""

    def __init__(self, away) -> None:
        self.away, self.tried, self.took = away, 0, []

    async def post_event(self, principal, event, detail, _start):
        self.tried += 1
        if self.tried <= self.away:
            raise ControlPlaneError("away")
        self.took.append((principal, event, detail))


def spawner(monkeypatch, control):
    made = SandboxSpawner(user=SimpleNamespace(name="wabc", id=1))
    monkeypatch.setattr(made, "_control", lambda: control)
    return made


def test_the_deadline_kills_the_sandbox_and_says_why(monkeypatch):
    async def story(process):
        here = spawner(monkeypatch, Control(away=0))
        here._process = process
        clock = asyncio.create_task(here._stop_at_deadline(0.2))
        await asyncio.sleep(0.05)
        assert await here.poll() is None
        await clock
        await asyncio.to_thread(process.wait, 20)
        assert await here.poll() == -9
        assert here._why == "The time for this workspace is over."

    with subprocess.Popen(["/usr/bin/sleep", "60"]) as process:
        asyncio.run(story(process))


@pytest.mark.parametrize(("away", "told"), [(0, True), (1, True), (2, True), (3, False)])
def test_a_report_that_nobody_took_is_told_three_times_in_all(monkeypatch, away, told):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    async def story():
        control = Control(away)
        here = spawner(monkeypatch, control)
        monkeypatch.setattr(sandbox_spawner.asyncio, "sleep", sleep)
        here._tell("stopped", "x")
        await asyncio.gather(*here._tasks)
        return control

    control = asyncio.run(story())
    assert control.took == ([("wabc", "stopped", "x")] if told else [])
    assert pauses == [0.0, 1.0, 5.0][: min(away + 1, 3)]
