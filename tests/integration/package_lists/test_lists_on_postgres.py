"""The lists on PostgreSQL, where writers do run at the same time: one of two wins, nothing is counted wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import select

from broch import migrations
from broch_api.packages import route_lists
from broch_api.packages.filters import PackageFilter
from broch_api.packages.lookups import PackageLookups
from broch_api.packages.registry import PackageRegistry
from broch_api.packages.route_lists import PackageListRegister
from broch_api.packages.schemas import PackageAsk
from broch_api.packages.service import PackageDesk
from broch_api.packages.uses import PackageUses
from broch_core.audit.tables import AuditRecord
from broch_core.errors import Conflict
from broch_core.lifecycles import AllowanceStatus
from broch_core.tables.packages import ListedPackage, Lookup, PackageUse
from broch_workspaces.packages.spec import Denials, Ecosystem, Fetch
from support.package_lists import ROUTE, FakeRoute, digest_of, listed, package, people_of_lists
from support.postgres import cluster
from support.worlds import World, make_world

POLICY = ("MIT",)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with cluster() as server:
        url = server.fresh()
        migrations.upgrade(url)
        made = make_world(tmp_path_factory.mktemp("world"), url)
        people_of_lists(made)
        yield made
        made.store.engine.dispose()


@pytest.fixture
def registry() -> PackageRegistry:
    route = FakeRoute()
    route.add(*(package(f"raced-{number}") for number in range(10)), package("waits"))
    return PackageRegistry(ROUTE, transport=httpx.MockTransport(route))


def together(*calls: Callable[[], object]) -> list[str]:
    """Call all at once; return what became of each."""
    barrier, ended = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            call()
        except Conflict:
            ended.append("conflict")
        else:
            ended.append("done")

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(ended)


def test_of_two_who_decide_at_once_one_wins(world: World, registry: PackageRegistry):
    desk = PackageDesk(world.store, registry, POLICY)
    ada, adam = world.actor("ada"), world.actor("adam")
    for number in range(20):
        row = listed(world, f"decided-{number}", "lena", AllowanceStatus.PROPOSED, world.project.id)
        ended = together(
            lambda id_=row.id: desk.approve(ada, [id_]),  # type: ignore[misc]
            lambda id_=row.id: desk.decline(adam, [id_], "No."),  # type: ignore[misc]
        )
        assert ended == ["conflict", "done"]
        with world.store.read() as session:
            records = session.exec(select(AuditRecord.action).where(AuditRecord.subject_id == row.id)).all()
            status = session.get_one(ListedPackage, row.id).status
        assert records == ["package:approve" if status is AllowanceStatus.ALLOWED else "package:decline"]


def test_of_two_who_ask_for_the_same_at_once_one_wins(world: World, registry: PackageRegistry):
    desk = PackageDesk(world.store, registry, POLICY)
    for number in range(10):
        body = PackageAsk(ecosystem=Ecosystem.PYPI, name=f"raced-{number}", version="1.0.0", why="Both.")
        ended = together(
            lambda one=body: desk.ask(world.actor("ada"), one),  # type: ignore[misc]
            lambda one=body: desk.ask(world.actor("adam"), one),  # type: ignore[misc]
        )
        assert ended == ["conflict", "done"]
    told = PackageListRegister(world.store, 1000).lists()
    assert sum(one.name.startswith("raced-") for one in told.common) == 10


def test_a_decision_and_the_registrys_answer_do_not_meet(world: World, registry: PackageRegistry):
    desk, lookups = PackageDesk(world.store, registry, POLICY), PackageLookups(world.store, registry, POLICY)
    for _ in range(10):
        row = listed(
            world, "waits", "ada", AllowanceStatus.PROPOSED, None,
            lookup=Lookup.WAITING, files=[], allow_by=world.people["ada"].id,
        )  # fmt: skip
        together(
            lambda id_=row.id: desk.decline(world.actor("adam"), [id_], "No."),  # type: ignore[misc]
            lambda: lookups.step({}),
        )
        with world.store.read() as session:
            found = session.get_one(ListedPackage, row.id)
        assert found.status in {AllowanceStatus.ALLOWED, AllowanceStatus.DECLINED}
        if found.status is AllowanceStatus.ALLOWED:
            desk.remove(world.actor("ada"), row.id, "Next round.")


def test_what_changes_while_lists_are_read_is_told_by_the_next_answer(
    world: World, registry: PackageRegistry, monkeypatch: pytest.MonkeyPatch
):
    desk, register = PackageDesk(world.store, registry, POLICY), PackageListRegister(world.store, 1000)
    row = listed(world, "leaves", "lena", AllowanceStatus.ALLOWED, world.project.id)
    read = route_lists._allowed

    def then_removed(*words: Any) -> list[ListedPackage]:
        found = read(*words)
        desk.remove(world.actor("ada"), row.id, "Just now.")
        return found

    monkeypatch.setattr(route_lists, "_allowed", then_removed)
    told = register.lists()
    monkeypatch.undo()
    assert "leaves" in {one.name for project in told.projects for one in project.packages}
    assert register.wait(told.digest, 0).digest != told.digest


def test_uses_are_counted_right(world: World):
    listed(world, "numpy", "ada", AllowanceStatus.ALLOWED, None)
    uses, project = PackageUses(world.store, 1000), world.project.id
    said = Fetch(
        project_id=project, pod=f"zone-{project.lower()}/w", kind="package", ecosystem=Ecosystem.PYPI,
        name="numpy", version="1.0.0", file="numpy-1.0.0-0.whl", sha256=digest_of("numpy"), size=7,
    )  # fmt: skip
    one = Denials.Denial(project_id=project, ecosystem=Ecosystem.PYPI, name="nunpy", count=3)
    together(*[lambda: uses.fetched(said)] * 4, *[lambda: uses.refused(Denials(items=(one,)))] * 4)
    with world.store.read() as session:
        rows = {row.name: (row.count, row.bytes) for row in session.exec(select(PackageUse))}
    assert rows == {"numpy": (4, 28), "nunpy": (12, 0)}


@pytest.mark.parametrize("table", ["listed_package", "nominated_resource"])
def test_the_app_itself_cannot_delete_history(world: World, table: str):
    with world.store.engine.connect() as connection:
        connection.execute(text("SET ROLE broch_app"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(f"DELETE FROM {table}"))


def test_names_are_searched_in_either_case(world: World, registry: PackageRegistry):
    listed(world, "Matrix", "ada", AllowanceStatus.ALLOWED, None, ecosystem="cran")
    desk = PackageDesk(world.store, registry, POLICY)
    for wanted in ("Matrix", "matrix", "ATRI"):
        found = desk.list(world.actor("ada"), PackageFilter(q=wanted), before=None, limit=10).items
        assert [one.name for one in found] == ["Matrix"]
    assert desk.list(world.actor("ada"), PackageFilter(q="m_trix"), before=None, limit=10).items == []


def test_entries_of_all_lists_are_looked_up_in_turn(world: World, registry: PackageRegistry):
    waits = {"lookup": Lookup.WAITING, "files": []}
    for number in range(6):
        listed(world, f"turn-{number}", "lena", AllowanceStatus.PROPOSED, world.project.id, **waits)
    listed(world, "turn-of-all", "ada", AllowanceStatus.PROPOSED, None, **waits)
    PackageLookups(world.store, registry, POLICY).step({})
    with world.store.read() as session:
        rows = session.exec(select(ListedPackage).where(ListedPackage.lookup == Lookup.WAITING)).all()
    waiting = sorted(row.name for row in rows if row.name.startswith("turn-"))
    assert waiting == ["turn-4", "turn-5"], "the one of the other list was among the five"
