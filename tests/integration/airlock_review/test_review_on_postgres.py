"""The review on PostgreSQL: its triggers, and many hands at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlmodel import select

from broch_airlock.release.tickets import issue, redeem
from broch_airlock.tables import Release, TicketKind
from broch_core.actors import PlatformRole, ProjectRole
from broch_core.audit.tables import AuditRecord
from broch_core.errors import Conflict, Denied, DomainError, Gone
from broch_core.lifecycles import AirlockStatus
from broch_core.proof import RELEASE_ACTION
from broch_core.scope import EVERYTHING, find_project
from broch_core.tables.projects import Membership
from support.postgres import Cluster, cluster
from support.reviews import ReviewWorld
from support.trigger_cases import REFUSED, assert_allowed, assert_refused

THREADS = 24


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def place(server: Cluster, tmp_path: Path) -> Iterator[ReviewWorld]:
    place = ReviewWorld(tmp_path, server.fresh())
    yield place
    place.store.engine.dispose()


def at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run calls together; return what each gave or raised."""
    gate, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index: int, call: Callable[[], object]) -> None:
        gate.wait()
        try:
            results[index] = call()
        except Exception as error:  # noqa: BLE001 - handed to the asserting thread
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    defects = [r for r in results if isinstance(r, Exception) and not isinstance(r, DomainError)]
    assert defects == []
    return results


@pytest.mark.parametrize("name", REFUSED)
def test_the_database_refuses(place: ReviewWorld, name: str):
    assert_refused(place, name)


def test_the_database_allows_the_same_rows_in_the_right_order(place: ReviewWorld):
    assert_allowed(place)


def test_history_cannot_be_truncated(place: ReviewWorld):
    place.released()
    with pytest.raises(Conflict, match="deleted"), place.store.write(housekeeping=True) as change:
        change.session.connection().exec_driver_sql("TRUNCATE airlock_decision")


def test_of_many_reviewers_at_once_two_take_part_and_the_release_is_asked_for_once(place: ReviewWorld):
    handles = [f"r{n}" for n in range(THREADS)]
    for handle in handles:
        place.world.add_person(handle, PlatformRole.REVIEWER)
    request = place.in_review({"a": b"1", "b": b"2"})
    results = at_once([lambda h=h: place.decide(h, request, "approve", "a") for h in handles])
    seated = [h for h, r in zip(handles, results, strict=True) if not isinstance(r, Exception)]
    assert len(seated) == 2
    assert all(isinstance(r, Conflict) for r in results if isinstance(r, Exception))
    at_once(
        [lambda h=h: place.decide(h, request, "approve", "b") for h in seated for _ in range(THREADS // 2)]
    )
    assert place.request(request.id).status is AirlockStatus.APPROVED
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.RELEASED


def test_nobody_becomes_a_member_and_decides(place: ReviewWorld):
    handles = [f"r{n}" for n in range(THREADS // 2)]
    for handle in handles:
        place.world.add_person(handle, PlatformRole.REVIEWER)
    requests = {h: place.in_review({f"{h}.csv": h.encode()}) for h in handles}

    def join(handle: str) -> str:
        with place.store.write(housekeeping=True) as change:
            find_project(change.session, EVERYTHING, place.world.project.id, lock=True)
            change.session.add(
                Membership(
                    project_id=place.world.project.id,
                    person_id=place.world.people[handle].id,
                    role=ProjectRole.RESEARCHER,
                )
            )
        return "member"

    calls = [
        call
        for h in handles
        for call in (lambda h=h: join(h), lambda h=h: place.decide(h, requests[h], "approve"))
    ]
    results = at_once(calls)
    assert results[::2] == ["member"] * len(handles)
    for handle, outcome in zip(handles, results[1::2], strict=True):
        # Either they decided first, or they were found to be members; never both in the other order.
        decided = [d for d in place.decisions() if d.reviewer_id == place.world.people[handle].id]
        assert bool(decided) is not isinstance(outcome, Denied)
        place.decide("rita", requests[handle], "approve")
        assert (
            place.request(requests[handle].id).status is AirlockStatus.IN_REVIEW
        )  # one independent approval


def test_a_ticket_is_used_once_by_many(place: ReviewWorld):
    request = place.in_review()
    session = place.world.sessions.start("rita", kind="cli")
    actor = place.world.sessions.actor(session.token)
    with place.store.write(housekeeping=True) as change:
        token, _ = issue(
            change, actor, place.files(request)[0], TicketKind.VIEW, place.world.settings.ticket_lifetime
        )

    def use() -> str:
        with place.store.write(housekeeping=True) as change:
            redeem(change, token, TicketKind.VIEW)
        return "used"

    results = at_once([use] * THREADS)
    assert results.count("used") == 1
    assert sum(isinstance(r, Gone) for r in results) == THREADS - 1


def test_many_workers_release_once(place: ReviewWorld):
    request = place.approved()
    at_once([lambda: place.releaser.release({"request_id": request.id})] * THREADS)
    place.releaser.release({"request_id": request.id})
    with place.store.read() as session:
        assert len(session.exec(select(Release)).all()) == 1
        records = session.exec(select(AuditRecord).where(AuditRecord.action == RELEASE_ACTION)).all()
    assert len(records) == 1
    assert place.request(request.id).status is AirlockStatus.RELEASED
