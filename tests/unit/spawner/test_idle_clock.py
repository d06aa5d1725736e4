"""The clock that stops an idle workspace, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from broch_spawner.idle_clock import IdleClock
from broch_spawner.idle_watch import Signs
from broch_spawner.inside.idle import Policy
from support.virtual_time import run

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class World:
    """A workspace by what the hub sees of it; its clock is the loop's, plus what a test sets it forward."""

    def __init__(self) -> None:
        self.ahead, self.active, self.told, self.taken = 0.0, NOON, [], True
        self.signs = Signs(self.now)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead)

    def clock(self, idle=3600, warn=600, *, fresh=True) -> IdleClock:
        return IdleClock(
            Policy.of_seconds(idle, warn), "w", self.signs, lambda: self.active, self.tell, fresh=fresh
        )

    async def tell(self, stop_at) -> bool:
        self.told.append((self.minutes(), stop_at and (stop_at - NOON).total_seconds() / 60))
        return self.taken

    def minutes(self) -> float:
        return asyncio.get_running_loop().time() / 60

    async def report(self, *, busy_until=0.0, every=60.0) -> None:
        """The server inside: it computes until then, and reports all the time."""
        while True:
            if self.minutes() <= busy_until:
                self.active = self.now()
            self.signs.heard("w")
            await asyncio.sleep(every)


async def stopped_after(world, clock, *beside) -> float:
    tasks = [asyncio.create_task(one) for one in beside]
    await clock.run_out()
    for task in tasks:
        task.cancel()
    return world.minutes()


@pytest.mark.parametrize(("busy", "stop"), [(0, 60), (47, 107), (600, 660)])
def test_it_is_warned_and_then_stopped_when_its_time_is_over(busy, stop) -> None:
    async def story() -> None:
        world = World()
        assert stop <= await stopped_after(world, world.clock(), world.report(busy_until=busy)) < stop + 0.5
        (warned, at), *_ = world.told
        assert stop - 10 <= warned < stop - 9.5
        assert at == pytest.approx(stop, abs=0.01)

    run(story())


def test_whoever_comes_back_in_the_last_minute_keeps_it_and_that_is_told() -> None:
    async def story() -> None:
        world = World()

        async def person() -> None:
            await asyncio.sleep(59 * 60)
            world.active = world.now()
            world.signs.heard("w")

        stop = await stopped_after(world, world.clock(), world.report(), person())
        assert 119 <= stop < 119.5
        gone = [minute for minute, at in world.told if at is None]
        assert len(gone) == 1
        assert 59 <= gone[0] < 59.5

    run(story())


def test_a_warning_that_was_not_taken_is_told_again() -> None:
    async def story() -> None:
        world = World()
        world.taken = False
        await stopped_after(world, world.clock(), world.report())
        assert len(world.told) > 30

    run(story())


def test_a_look_that_fails_neither_stops_it_nor_ends_the_clock() -> None:
    async def story() -> None:
        world = World()
        clock, looks = world.clock(300, 100), []

        def reported() -> datetime:
            looks.append(world.minutes())
            if 4.5 < world.minutes() < 6:
                raise OSError("the database is away")
            return world.active

        clock._reported = reported
        assert 6 <= await stopped_after(world, clock, world.report()) < 6.3
        assert len(looks) > 30

    run(story())


def test_a_restarted_hub_does_not_lose_the_time_that_had_run() -> None:
    async def story() -> None:
        world = World()
        world.active = NOON - timedelta(minutes=55)  # what the database has, and the server confirms
        assert 5 <= await stopped_after(world, world.clock(fresh=False), world.report(busy_until=-1)) < 5.5

    run(story())


def test_a_restarted_hub_stops_nobody_who_trained_while_no_hub_was_there() -> None:
    async def story() -> None:
        world = World()
        world.active = NOON - timedelta(minutes=500)  # what the database has, before the first report
        stop = await stopped_after(world, world.clock(fresh=False), late(world.report(busy_until=30)))
        assert 89 <= stop < 90.5
        assert world.told[0] == (pytest.approx(0.17, abs=0.1), None)  # what was told before is not known

    async def late(report) -> None:
        await asyncio.sleep(200)
        await report

    run(story())


def test_a_machine_that_slept_stops_nobody_who_works() -> None:
    """The clock jumps by hours, and the server inside had no time to report."""

    async def story() -> None:
        world = World()

        async def sleep() -> None:
            await asyncio.sleep(1815)
            world.ahead = 8 * 3600

        stop = await stopped_after(world, world.clock(), world.report(busy_until=120), sleep())
        assert 180 <= stop < 181

    run(story())


def test_a_server_that_does_not_report_is_judged_from_outside() -> None:
    async def story() -> None:
        world = World()

        async def page() -> None:
            while world.minutes() < 200:
                world.signs.carried("w")
                await asyncio.sleep(10)

        assert 259 <= await stopped_after(world, world.clock(), page()) < 261

    run(story())


@pytest.mark.parametrize(
    ("seconds", "span"),
    [(60, "1 minute"), (3600, "60 minutes"), (14, "14 seconds"), (90, "90 seconds")],
)
def test_it_says_why(seconds, span) -> None:
    async def story() -> str:
        return World().clock(seconds, 5).text

    assert run(story()) == f"It was idle for {span}. Your files are kept."
