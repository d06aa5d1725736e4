"""Bytes shown are told, kept while nobody takes them, and never lost beyond what is stated."""

import asyncio
import json

import pytest

from broch_spawner.control import ControlPlaneError
from broch_spawner.meter import Meter

HOST = "wabc.hub.broch.localhost"


class Control:
    """Takes counts, or says no."""

    def __init__(self) -> None:
        self.took = []
        self.away = False
        self.refused = 0

    async def post(self, principal, size):
        await asyncio.sleep(0)
        if self.away:
            self.refused += 1
            raise ControlPlaneError("away")
        self.took.append((principal, size))


async def settle(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def run(tmp_path, story, **options):
    async def whole():
        control = Control()
        meter = Meter(control.post, tmp_path / "shown.json", **{"every": 60.0, "full": 100, **options})
        meter.start()
        await story(control, meter)
        return control

    return asyncio.run(whole())


def test_small_counts_are_added_up_and_a_full_one_is_told_at_once(tmp_path):
    async def story(control, meter):
        for _ in range(9):
            meter.add(HOST, 10)
        await asyncio.sleep(0.05)
        assert control.took == []
        meter.add(HOST, 10)
        await settle(lambda: control.took == [("wabc", 100)])
        meter.add("wxyz.hub.broch.localhost", 7)
        await meter.stop()
        assert control.took[1:] == [("wxyz", 7)]

    run(tmp_path, story)


def test_counts_are_told_every_few_seconds(tmp_path):
    async def story(control, meter):
        meter.add(HOST, 1)
        await settle(lambda: control.took)
        await meter.stop()

    assert run(tmp_path, story, every=0.05).took == [("wabc", 1)]


def test_the_rest_of_a_workspace_that_ends_is_told_at_once(tmp_path):
    async def story(control, meter):
        meter.add(HOST, 3)
        meter.close(HOST)
        await settle(lambda: control.took == [("wabc", 3)])
        await meter.stop()

    run(tmp_path, story)


def test_what_nobody_takes_is_told_later_in_one_sum(tmp_path):
    async def story(control, meter):
        control.away = True
        meter.add(HOST, 150)
        await settle((tmp_path / "shown.json").exists)
        assert json.loads((tmp_path / "shown.json").read_text()) == {"wabc": 150}
        assert (tmp_path / "shown.json").stat().st_mode & 0o777 == 0o600
        meter.add(HOST, 5)
        control.away = False
        await settle(lambda: control.took)
        await meter.stop()

    control = run(tmp_path, story, every=0.05)
    assert sum(size for _, size in control.took) == 155
    assert not (tmp_path / "shown.json").exists()


def test_a_hub_that_is_killed_while_nobody_listens_loses_nothing_that_was_kept(tmp_path):
    async def killed(control, meter):
        control.away = True
        meter.add(HOST, 150)
        await settle((tmp_path / "shown.json").exists)

    async def again(control, meter):
        await meter.stop()

    run(tmp_path, killed)
    assert run(tmp_path, again).took == [("wabc", 150)]


def test_a_disk_that_takes_nothing_ends_no_count(tmp_path):
    async def story(control, meter):
        (tmp_path / "shown.new").mkdir()  # where the file is written first: it cannot be
        control.away = True
        meter.add(HOST, 150)
        await settle(lambda: control.refused)
        await asyncio.sleep(0.2)
        control.away = False
        meter.add(HOST, 5)
        await settle(lambda: sum(size for _, size in control.took) == 155)
        meter.add(HOST, 120)
        await settle(lambda: sum(size for _, size in control.took) == 275)
        await meter.stop()

    assert run(tmp_path, story, every=0.05)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "b"}'])
def test_a_damaged_file_does_not_keep_the_hub_from_starting(tmp_path, content):
    async def story(control, meter):
        meter.add(HOST, 1)
        await meter.stop()

    (tmp_path / "shown.json").write_text(content)
    assert run(tmp_path, story).took == [("wabc", 1)]
