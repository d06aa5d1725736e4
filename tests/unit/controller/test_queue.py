"""The keyed queue: no key twice at once, none lost, later after failures."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broch_workspaces.cluster.controller.queue import KeyedQueue, Schedule

KEYS = st.sampled_from(["a", "b", "c"])


class ScheduleMachine(RuleBasedStateMachine):
    """Any order of calls: what was added comes, once, and never while somebody works on it."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(first=1.0, longest=8.0)
        self.now = 0.0
        self.due: dict[str, float] = {}
        self.behind: list[str] = []
        self.busy: set[str] = set()

    @rule(key=KEYS)
    def add_behind(self, key: str) -> None:
        self.schedule.add_behind(key)
        if key not in self.behind:
            self.behind.append(key)

    @rule(key=KEYS, after=st.floats(0, 5))
    def add(self, key: str, after: float) -> None:
        at = self.now + after
        self.schedule.add(key, at)
        self.due[key] = min(at, self.due.get(key, at))

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        key = self.schedule.take(self.now)
        free = {name: at for name, at in self.due.items() if name not in self.busy and at <= self.now}
        last = [name for name in self.behind if name not in self.busy]
        if key is None:
            assert not free
            assert not last
            return
        if free:
            assert free[key] == min(free.values())
            del self.due[key]
        else:
            assert key == last[0]
        if key in self.behind:
            self.behind.remove(key)
        self.busy.add(key)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.busy)))
        self.schedule.worked(key)
        self.schedule.done(key)
        self.busy.discard(key)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def failed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.busy)))
        delay = self.schedule.failed(key, self.now)
        assert 1.0 <= delay <= 8.0
        self.schedule.done(key)
        self.busy.discard(key)
        self.due[key] = min(self.now + delay, self.due.get(key, self.now + delay))

    @invariant()
    def counts_what_is_due(self) -> None:
        assert len(self.schedule) == len({*self.due, *self.behind})
        free = [at for name, at in self.due.items() if name not in self.busy]
        wait = self.schedule.wait(self.now)
        if {*self.behind} - self.busy:
            assert wait == 0.0
            return
        assert wait == (max(0.0, min(free) - self.now) if free else None)


TestSchedule = ScheduleMachine.TestCase
TestSchedule.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_retry_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    schedule = Schedule(first=1.0, longest=5.0)
    assert [schedule.failed("a", 0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    schedule.worked("a")
    assert schedule.failed("a", 0.0) == 1.0


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    async def story() -> list[str]:
        queue = KeyedQueue(asyncio.get_running_loop().time)
        queue.add("a")
        taken = [await queue.get()]
        queue.add("a")
        queue.add("b")
        taken.append(await queue.get())
        queue.done("a")
        taken.append(await queue.get())
        return taken

    assert asyncio.run(story()) == ["a", "b", "a"]


def test_many_events_are_one_turn() -> None:
    async def story() -> int:
        queue = KeyedQueue(asyncio.get_running_loop().time)
        for _ in range(100):
            queue.add("a")
        await queue.get()
        return len(queue)

    assert asyncio.run(story()) == 0


def test_news_do_not_wait_behind_what_all_begin_with() -> None:
    async def story() -> list[str]:
        queue = KeyedQueue(asyncio.get_running_loop().time)
        for key in ("a", "b", "c"):
            queue.add_behind(key)
        taken = [await queue.get()]
        queue.add("c")
        for _ in range(2):
            taken.append(await queue.get())
            queue.done(taken[-1])
        return taken

    assert asyncio.run(story()) == ["a", "c", "b"]
