"""Ends of rights while a row cannot be judged or the hub is slow: each for itself, and told in time."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlmodel import select

from broch_api.revocations.service import RevocationDesk
from broch_api.revocations.watch import AT_ONCE, RevocationWatch
from broch_api.workspaces.hub import HubClient
from broch_core.clock import utc_now
from broch_core.revocations import RevocationCause
from broch_core.tables.projects import Project
from broch_core.tables.revocations import Revocation
from unit.runtime.runtime_fakes import Plane
from unit.runtime.runtime_steps import running
from unit.runtime.test_workspace_revocations import actions, freeze, older


@pytest.fixture
def watch(plane: Plane) -> RevocationWatch:
    return plane.get(RevocationWatch)


def unreadable(plane: Plane) -> Revocation:
    """Add one, older than all others, that nobody can judge."""
    world = plane.world
    with world.store.read() as session:
        beta = session.exec(select(Project).where(Project.slug == "beta")).one()
    row = Revocation(
        id="0" * 26,
        project_id=beta.id,
        cause=RevocationCause.PROJECT_FROZEN,
        reason="The project is frozen.",
        actor_id="system",
        starts=[{"door": "nobody said of what"}],
        rights_at=utc_now(),
    )
    world.add(row)
    return row


def test_one_that_cannot_be_judged_stops_no_other_and_is_told_and_tried_again(plane, watch):
    broken = unreadable(plane)
    running(plane)
    freeze(plane)
    watch.round()
    with plane.world.store.read() as session:
        done = {row.id: row.done_at for row in session.exec(select(Revocation))}
    assert done.pop(broken.id) is None
    assert all(done.values())
    assert plane.hub.servers == {}
    assert watch.failing == {broken.id: "KeyError"}

    def part() -> dict[str, object]:
        return next(one for one in plane.api.get("/readyz").json()["parts"] if one["name"] == "revocations")

    assert not part()["ok"]
    assert plane.get(RevocationDesk).everywhere(plane.world.actor("ada"))
    with plane.world.store.write(housekeeping=True) as change:
        change.session.get_one(Revocation, broken.id).begun_at -= timedelta(seconds=61)
    watch.round()
    watch.round()
    assert actions(plane).count("revocation:late") == 1, "late all the same, and told once"
    with plane.world.store.write(housekeeping=True) as change:
        change.session.get_one(Revocation, broken.id).starts = []
    watch.round()
    assert not watch.failing
    assert part()["ok"]


def test_what_is_late_is_counted_before_anybody_could_write_it_down(plane):
    running(plane)
    freeze(plane)
    assert 'broch_revocations{state="late"} 0' in plane.api.get("/metrics").text
    older(plane, 61)
    assert 'broch_revocations{state="late"} 1' in plane.api.get("/metrics").text


def test_a_hub_that_is_slow_keeps_no_alarm_back_and_leaves_nobody_out(plane):
    """Eight at once, and time for one answer in a round: the others come in the rounds that follow."""
    watch = RevocationWatch(plane.world.store, plane.get(HubClient), on_cluster=False, ask_seconds=0.5)
    names = [f"w{number:025d}" for number in range(3 * AT_ONCE)]
    plane.world.add(
        Revocation(
            project_id=plane.world.project.id,
            cause=RevocationCause.PROJECT_FROZEN,
            reason="The project is frozen.",
            actor_id="system",
            starts=[{"principal": name, "door": None, "status": "running"} for name in names],
            begun_at=utc_now() - timedelta(seconds=61),
            rights_at=utc_now(),
        )
    )
    for name in names:
        plane.hub.run(name)
    plane.hub.slow_stop, plane.hub.seconds = True, 0.6
    began = time.monotonic()
    watch.round()
    assert time.monotonic() - began < 14, "one after another takes 14.4 s"
    assert actions(plane)[0] == "revocation:late", "before the hub was asked"
    asked = {call for call in plane.hub.calls if call.startswith("DELETE")}
    assert 0 < len(asked) < len(names)
    for _ in range(3):
        watch.round()
    assert len({call for call in plane.hub.calls if call.startswith("DELETE")}) == len(names)
