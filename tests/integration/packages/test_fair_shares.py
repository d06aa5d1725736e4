"""What one project, or one notebook, can take from the others or tell outside: parts of the route, bytes, moments."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from broch_workspaces.packages.spec import Ecosystem, PackageLists, ProjectList
from support.gateway import OTHER_ZONE, review
from support.packages import PROJECT, package, package_world, resource, wheel

NAME, DATA = wheel("tidy", "1.0")
TIDY = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA))
FILE = f"/packages/pypi/files/tidy/1.0/{NAME}"


def test_bytes_of_a_day_end_and_the_refusal_says_when_there_are_more(world):
    world.registry.put_pypi(TIDY, {NAME: DATA})
    world.allow(TIDY, bytes_a_day=len(DATA) + 10)
    assert world.ask(FILE).status == 200
    answer = world.ask(FILE)
    assert answer.status == 429
    assert "There are more from" in answer.json()["detail"]
    assert 0 < int(answer.header("retry-after") or 0) <= 86400


def test_a_zone_cannot_signal_by_asking_for_an_address_again_and_again(tmp_path):
    """Whoever owns the address sees each request, with its moment: many of them would carry data out of the zone."""
    with package_world(tmp_path, failed_seconds=60, resource_seconds=600) as world:
        world.registry.put("/table.csv", b"a,b\n1,2\n")
        world.registry.put("/large", b"x" * 5000)
        world.allow(
            resources=(
                resource("table", f"{world.outside}/table.csv"),
                resource("gone", f"{world.outside}/gone"),
                resource("wrong", f"{world.outside}/table.csv", sha256="0" * 64),
                resource("large", f"{world.outside}/large", largest=4999),
            )
        )
        for slug, status in (("table", 200), ("gone", 404), ("wrong", 502), ("large", 502)):
            before = len(world.registry.asked)
            answers = [world.ask(f"/resources/{slug}") for _ in range(5)]
            assert [answer.status for answer in answers] == [status] * 5
            assert len(world.registry.asked) == before + 1, slug
        assert [one["name"] for one in world.control.fetches] == ["table"] * 5, (
            "each is recorded all the same"
        )


def test_an_address_is_read_anew_when_its_bytes_are_old_or_there_is_no_room_for_them(tmp_path):
    with package_world(tmp_path, resource_seconds=0.5, scratch_bytes=100) as world:
        world.registry.put("/table.csv", b"old")
        world.registry.put("/other", b"x" * 99)
        world.allow(
            resources=(
                resource("table", f"{world.outside}/table.csv"),
                resource("other", f"{world.outside}/other", largest=100),
            )
        )
        assert world.ask("/resources/table").body == b"old"
        world.registry.put("/table.csv", b"new")
        world.wait(lambda: world.ask("/resources/table").body == b"new", 5)
        assert world.ask("/resources/other").status == 200, "which leaves no room for the table"
        assert world.ask("/resources/table").body == b"new"


def test_a_file_that_cannot_be_had_is_not_asked_for_again_at_once(tmp_path):
    with package_world(tmp_path, failed_seconds=5) as world:
        world.allow(TIDY)
        assert [world.ask(FILE).status for _ in range(5)] == [404] * 5
        assert world.registry.asked == ["/simple/tidy/"]
        world.registry.put_pypi(TIDY, {NAME: DATA})
        world.wait(lambda: world.ask(FILE).status == 200, 20)


@pytest.fixture
def neighbours(tmp_path):
    """Return a world of two projects with little room: the first has slow addresses, the second one wheel."""
    narrow = {"downloads": 2, "project_downloads": 1, "requests": 8, "project_requests": 3}
    with package_world(tmp_path, **narrow) as world:
        slow = [f"/slow/{number}" for number in range(6)]
        world.registry.slow_at = dict.fromkeys(slow, 5.0)
        world.registry.put_pypi(TIDY, {NAME: DATA})
        other = OTHER_ZONE.removeprefix("zone-").upper()
        mine = ProjectList(
            project_id=PROJECT,
            resources=tuple(resource(f"s{n}", world.outside + path) for n, path in enumerate(slow)),
        )
        world.control.lists = PackageLists(
            digest="two", common=(TIDY,), projects=(mine, ProjectList(project_id=other))
        )
        world.gateway.judge.answers["e30.e30.other"] = review(OTHER_ZONE, number=2)
        world.wait(lambda: world.ask("/packages/pypi/simple/tidy/", token="e30.e30.other").status == 200)
        yield world


def test_a_project_whose_files_come_slowly_does_not_hold_up_another(neighbours):
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(neighbours.ask, f"/resources/s{number}") for number in range(2)]
        neighbours.wait(lambda: neighbours.registry.asked != [])
        waiting.append(pool.submit(neighbours.ask, FILE))  # behind them; the other project asks for the same
        neighbours.wait(lambda: neighbours.gateway.running.gateway.under_way == 3)
        assert neighbours.ask(FILE, token="e30.e30.other").body == DATA
        assert not any(one.done() for one in waiting)


def test_a_project_takes_its_part_of_all_requests_and_no_more(neighbours):
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(neighbours.ask, f"/resources/s{number}") for number in range(6)]
        neighbours.wait(lambda: sum(one.done() for one in waiting) == 3)
        assert [one.result().status for one in waiting if one.done()] == [429] * 3
        assert neighbours.route.counts.of("refused", "full-project") == 3
        assert neighbours.ask("/packages/pypi/simple/tidy/", token="e30.e30.other").status == 200
