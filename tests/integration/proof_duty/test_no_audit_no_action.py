"""Each change of state has its record in the same transaction: where the record cannot be written, nothing changes.

Every route that changes something is tried, as the generated matrix of routes says who may use it in which state; so
is every step that Broch takes by itself. Each record that the call would write fails in turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlmodel import select

from broch_airlock.facts import KIND
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.tables import AirlockRequest, Direction
from broch_core.audit.tables import AuditRecord
from broch_core.lifecycles import AirlockStatus
from broch_core.store.unit import Store
from broch_core.web.routing import NamedRoute
from support.counts import count
from support.crossing import Crossing
from support.failing_audit import AuditUnwritable, audit_failing
from support.fault_acts import STAGES, Stage, fresh, prepare
from support.postgres import Cluster
from support.reviews import ReviewWorld
from support.surface import Surface
from support.surface_calls import Thing, call, recipe_of, states_of
from support.surface_matrix import READS_THAT_WRITE, sorted_routes
from support.surface_world import ACTORS

MATRIX = Path(__file__).parents[3] / "docs" / "matrix.txt"
_CHANGES_NOTHING = {
    "/theme": "a cookie of the browser",
    "/audit/verify": "verifies; the record says that somebody did",
    "/api/v1/audit/verify": "verifies; the record says that somebody did",
    "/api/v1/audit/erasures": "texts beside the log; that they stay is compared below",
    "/api/v1/audit/keys": "a key file",
    "/api/v1/audit/export": "reads the log; the record says that somebody did",
}
_UNRECORDED = {
    "/api/v1/airlock/requests/{request_id}/uploads": "nothing has crossed yet: the file that it becomes is recorded",
    "/api/v1/airlock/uploads/{upload_id}": "as above",
    "/internal/v1/workspaces/{principal}/shown": "a meter of bytes; that a limit was passed is recorded",
    "/internal/v1/workspaces/{principal}/idle": "a notice for its page; the stop that follows is recorded",
    "/oauth/userinfo": "spends a token whose making was recorded",
}
"""Housekeeping: rows that change without a record, and why that is no change of state."""
_NOT_ON_ONE_MACHINE = {
    "/internal/v1/zones/{project_id}/report": "tried in unit/zones/test_zone_register.py",
    "/internal/v1/package-fetches": "tried in unit/package_lists/test_route.py",
    "/internal/v1/package-denials": "tried in unit/package_lists/test_route.py",
    "/sign-in/back-channel-logout": "tried in unit/oidc/test_logout_is_recorded.py",
}
"""Routes that only a cluster has a caller for."""
_IN_STEPS = {
    "/api/v1/airlock/picks": "a draft, then each file of it",
    "/api/v1/audit/keys": "that it was asked for, then the key",
    "/airlock/zones/{project_id}": "a draft, then each file of it",
}
"""Several changes one after the other, each with its record: those before the one that failed stay."""
WAYS = count("states in which each route loses its audit record", ci=1, nightly=9)
_GOOD = re.compile(r"20[0-4]|30[23]")


def doers() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Read from the matrix who is let do what in which state: (method, path) -> [(actor, state)]."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    key = ("", "")
    for line in MATRIX.read_text().partition("# Part 2")[0].splitlines():
        if head := re.match(r"([A-Z]+) (\S+)  \[", line):
            key = (head[1], head[2])
            found[key] = []
        elif line.startswith("  ") and key[0]:
            cells = line.split(maxsplit=len(ACTORS))
            states = cells[len(ACTORS)].split(", ") if len(cells) > len(ACTORS) else [""]
            found[key] += [
                (who, state)
                for who, cell in zip(ACTORS, cells, strict=False)
                if _GOOD.fullmatch(cell)
                for state in states
            ]
    return found


def changing() -> list[NamedRoute]:
    """Return every route that may change something."""
    return [
        route
        for route in sorted_routes()
        if (route.method in {"POST", "PUT", "PATCH", "DELETE"} or route.path in READS_THAT_WRITE)
        and route.path not in _NOT_ON_ONE_MACHINE
    ]


def ways(surface: Surface, route: NamedRoute) -> Iterator[tuple[str, str, Thing]]:
    """Return (actor, state, thing) of calls that succeed, in the first states where somebody may."""
    recipe = recipe_of(route)
    assert recipe is not None
    things = states_of(surface, route, recipe)
    seen: set[str] = set()
    for who, state in doers().get((route.method, route.path), []):
        if state in things and state not in seen and len(seen) < WAYS:
            seen.add(state)
            yield who, state, things[state]


def records(surface: Surface) -> list[str]:
    """Return the ids of all records."""
    with surface.service(Store).read() as session:
        return list(session.exec(select(AuditRecord.id)))


def kept(surface: Surface) -> list[object]:
    """List all bytes, and the keys."""
    return [*surface.bytes_kept(), (surface.folder / "keys" / "keys.json").read_bytes()]


@pytest.mark.timeout(3600)  # nightly counts
def test_where_the_record_cannot_be_written_no_route_changes_anything(surface: Surface) -> None:
    engine = surface.service(Store).engine
    failed, tried, unwritten = 0, 0, set()
    surface.put_back()
    before = surface.digest(), kept(surface)
    kept_records = len(records(surface))
    for route in changing():
        recipe = recipe_of(route)
        assert recipe is not None
        for who, state, thing in ways(surface, route):
            with audit_failing(engine) as writes:
                answer = call(surface, route, recipe, surface.visitors[who], thing)
            assert answer.status < 400, (route, who, state, answer.status)
            tables = {name for name, now in surface.digest().items() if now != before[0].get(name)}
            changed = tables - {"audit_record", "audit_personal"}
            tried += 1
            if writes.count == 0:
                assert not changed or route.path in _UNRECORDED, (route, changed)
                unwritten.add(route.path)
            elif not changed:
                assert route.path in _CHANGES_NOTHING or kept(surface) != before[1], route
            surface.put_back()
            for number in range(writes.count):
                with audit_failing(engine, number):
                    answer = call(surface, route, recipe, surface.visitors[who], thing)
                where = (route.method, route.path, who, state, number)
                assert answer.status >= 500, (where, answer.status)
                assert isinstance(answer.defect, AuditUnwritable) or b"AuditUnwritable" not in answer.body
                if number and route.path in _IN_STEPS:
                    assert len(records(surface)) == kept_records + number, where
                    surface.put_back()
                    continue
                now = surface.digest()
                left = {name for name in now if now[name] != before[0].get(name)}
                if route.path in _UNRECORDED:  # how far an upload came is told to the client that goes on
                    assert left <= {"airlock_upload", "workspace"}, where
                    surface.put_back()
                else:
                    assert left == set(), where
                    assert kept(surface) == before[1], where
                failed += 1
    surface.put_back()
    assert len(changing()) > 60
    assert failed >= len(changing()) - len(unwritten)
    assert tried > len(changing()) * 0.9


def test_every_route_that_changes_something_is_used_by_somebody(surface: Surface) -> None:
    """Else the test above would pass it by."""
    assert [route for route in changing() if not list(ways(surface, route))] == []


# what Broch does by itself


def assert_recorded(here: Crossing | ReviewWorld, request_id: str) -> None:
    """See that the state of a request is the one that its newest record tells."""
    with here.store.read() as session:
        records = session.exec(
            select(AuditRecord)
            .where(AuditRecord.subject_kind == KIND, AuditRecord.subject_id == request_id)
            .order_by(AuditRecord.id)
        ).all()
        told = [record.facts["status"] for record in records if "status" in record.facts]
        assert session.get_one(AirlockRequest, request_id).status.value == told[-1]


@pytest.mark.parametrize("name", ["submit", "release", "release of an import"])
def test_where_the_record_cannot_be_written_no_step_of_the_background_is_taken(
    name: str, tmp_path: Path
) -> None:
    stage: Stage = STAGES[name]
    template = tmp_path / "template"
    request = prepare(template, stage)
    here = Crossing(fresh(template, tmp_path / "whole"))
    with audit_failing(here.store.engine) as writes:
        stage.act(here, request, lambda _: None)
    assert_recorded(here, request)
    here.close()
    assert writes.count >= 3
    for number in range(writes.count):
        here = Crossing(fresh(template, tmp_path / str(number)))
        before = here.request(request).status
        with audit_failing(here.store.engine, number), suppress(AuditUnwritable):
            stage.act(here, request, lambda _: None)
        assert_recorded(here, request)
        after = here.request(request).status
        assert after is not AirlockStatus.RELEASED
        assert number or after is before
        here.close()


# a sample on PostgreSQL


def rows_of(place: ReviewWorld) -> dict[str, str]:
    """Hash every table."""
    found = {}
    with place.store.engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            rows = sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}"))))
            found[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def _ticket(place: ReviewWorld, request: AirlockRequest) -> object:
    session = place.world.sessions.start("ruth", kind="cli")
    actor = place.world.sessions.actor(session.token)
    assert actor is not None
    return place.services[DownloadDesk].ticket(actor, request.id, place.files(request)[0].id)


_SAMPLE: dict[
    str, tuple[Callable[[ReviewWorld], AirlockRequest], Callable[[ReviewWorld, AirlockRequest], object]]
]
_SAMPLE = {
    "decide": (
        lambda place: place.in_review(),
        lambda place, request: place.decide("rita", request, "approve"),
    ),
    "begin a release": (
        lambda place: place.approved(),
        lambda place, request: place.releaser._begin(request.id),
    ),
    "release an import": (
        lambda place: place.approved(direction=Direction.INGRESS),
        lambda place, request: place.releaser._begin(request.id),
    ),
    "ticket": (lambda place: place.released(), _ticket),
    "recall": (lambda place: place.released(), lambda place, request: place.recall(request)),
    "sign in": (
        lambda place: place.in_review(),
        lambda place, _: place.world.sessions.start("ruth", kind="cli"),
    ),
}


@pytest.fixture(scope="module")
def on_postgresql(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewWorld]:
    place = ReviewWorld(tmp_path_factory.mktemp("pg"), server.fresh())
    yield place
    place.store.engine.dispose()


@pytest.mark.parametrize("name", _SAMPLE)
def test_on_postgresql_too_nothing_changes_without_its_record(on_postgresql: ReviewWorld, name: str) -> None:
    make, act = _SAMPLE[name]
    request = make(on_postgresql)
    before = rows_of(on_postgresql)
    with audit_failing(on_postgresql.store.engine, 0), pytest.raises(AuditUnwritable):
        act(on_postgresql, request)
    assert rows_of(on_postgresql) == before
    act(on_postgresql, request)
    now = rows_of(on_postgresql)
    assert len({table for table in now if now[table] != before[table]}) > 1  # the record, and what it records
