"""What a project may fetch, how much, and what is remembered between requests."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from broch_core.errors import Denied, TooMany, Unavailable
from broch_workspaces.packages import indexes
from broch_workspaces.packages.allowed import Allowed, Unlisted
from broch_workspaces.packages.control import NoAnswer
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, PackageLists, ProjectList
from broch_workspaces.packages.state import Allowance, Lists, MadeIndexes, Refusals
from support.packages import package, resource

MINE, OTHER, CLOSED = ("01ARZ3NDEKTSV4RRFFQ69G5FA" + letter for letter in "VWX")
NUMPY = package(Ecosystem.PYPI, "numpy", "2.0", ("numpy-2.0.whl", b"n"))
OWN = package(Ecosystem.PYPI, "own", "1.0", ("own-1.0.whl", b"o"))
THEIRS = package(Ecosystem.PYPI, "theirs", "1.0", ("theirs-1.0.whl", b"t"))
ALLOWED = Allowed(
    PackageLists(
        digest="d",
        common=(NUMPY,),
        projects=(
            ProjectList(project_id=MINE, packages=(OWN,), resources=(resource("a", "https://a.example/x"),)),
            ProjectList(project_id=OTHER, packages=(THEIRS,)),
        ),
    )
)
SETTINGS = PackagesSettings(control_plane="https://web:8444")


def test_a_project_has_the_common_list_and_its_own_and_no_others():
    assert ALLOWED.named(MINE, Ecosystem.PYPI, "numpy") == [NUMPY]
    assert ALLOWED.named(MINE, Ecosystem.PYPI, "own") == [OWN]
    with pytest.raises(Unlisted):
        ALLOWED.named(MINE, Ecosystem.PYPI, "theirs")
    with pytest.raises(Unlisted) as caught:
        ALLOWED.named(MINE, Ecosystem.PYPI, "their")
    assert "theirs" not in caught.value.detail, "a hint must not tell of another project's list"
    with pytest.raises(Unlisted):
        ALLOWED.named(MINE, Ecosystem.CONDA, "numpy", "forge")


def test_a_project_that_is_not_open_has_nothing():
    for ask in (
        lambda: ALLOWED.named(CLOSED, Ecosystem.PYPI, "numpy"),
        lambda: ALLOWED.placed(CLOSED, Ecosystem.PYPI),
        lambda: ALLOWED.resource(CLOSED, "a"),
        lambda: ALLOWED.file(CLOSED, Ecosystem.PYPI, "numpy-2.0.whl", name="numpy"),
    ):
        with pytest.raises(Denied):
            ask()


def test_a_resource_is_of_one_project():
    assert ALLOWED.resource(MINE, "a").url == "https://a.example/x"
    with pytest.raises(Denied):
        ALLOWED.resource(OTHER, "a")


def test_a_file_of_two_lists_must_have_the_digests_of_both():
    again = package(Ecosystem.PYPI, "numpy", "2.0", ("numpy-2.0.whl", b"other"))
    allowed = Allowed(
        PackageLists(digest="d", common=(NUMPY,), projects=(ProjectList(project_id=MINE, packages=(again,)),))
    )
    found = allowed.file(MINE, Ecosystem.PYPI, "numpy-2.0.whl", name="numpy", version="2.0")
    assert found.digests == {*NUMPY.files[0].digests, *again.files[0].digests}


def test_the_bytes_of_a_day_are_each_projects_own_and_begin_anew_at_midnight():
    now = datetime(2026, 3, 31, 23, 0, tzinfo=UTC)
    clock = [now]
    allowance = Allowance(lambda: clock[0])
    mine, other = (ProjectList(project_id=one, bytes_a_day=100) for one in (MINE, OTHER))
    allowance.charge(mine, 60)
    allowance.charge(mine, 40)
    with pytest.raises(TooMany) as caught:
        allowance.charge(mine, 1)
    assert "2026-04-01 00:00 UTC" in caught.value.detail
    assert caught.value.facts["retry_after"] == 3601
    allowance.charge(other, 100)
    allowance.give_back(mine, 40)
    allowance.charge(mine, 40)
    clock[0] = now + timedelta(hours=2)
    allowance.charge(mine, 100)


def test_lists_are_good_while_the_control_plane_answers():
    clock = [0.0]
    lists = Lists(SETTINGS, lambda: clock[0])
    with pytest.raises(Unavailable, match="no lists yet"):
        lists.current()
    lists.take(ALLOWED)
    clock[0] = 299.0
    assert lists.current() is ALLOWED
    lists.take(None)
    clock[0] = 598.0
    assert lists.current() is ALLOWED
    clock[0] = 600.0
    with pytest.raises(Unavailable, match="not heard"):
        lists.current()


class Control:
    """A control plane that answers when it is told to."""

    def __init__(self) -> None:
        self.away, self.told, self.calls = True, [], 0

    async def denied(self, denials):
        if self.away:
            raise NoAnswer("away")
        self.calls += 1
        self.told += denials.items


def test_refusals_are_added_up_printable_and_kept_until_they_are_told():
    control, refusals = Control(), Refusals()
    for number in (6, 7, 7):
        refusals.add(MINE, Ecosystem.NPM, f"name-{number}")
    with pytest.raises(NoAnswer):
        asyncio.run(refusals.tell(control))
    control.away = False
    asyncio.run(refusals.tell(control))
    assert {one.name: one.count for one in control.told} == {"name-6": 1, "name-7": 2}
    refusals.add(MINE, Ecosystem.NPM, "é\n" + "x" * 400)
    asyncio.run(refusals.tell(control))
    assert control.told[-1].name == "??" + "x" * 253
    told = len(control.told)
    asyncio.run(refusals.tell(control))
    assert len(control.told) == told


def test_names_that_one_zone_makes_up_hide_no_others():
    control, refusals = Control(), Refusals()
    control.away = False
    for number in range(5000):
        refusals.add(MINE, Ecosystem.NPM, f"name-{number}")
    refusals.add(MINE, Ecosystem.NPM, "name-7")
    refusals.add(OTHER, Ecosystem.PYPI, "reqeusts")
    asyncio.run(refusals.tell(control))
    counts = {(one.project_id, one.name): one.count for one in control.told}
    assert counts[OTHER, "reqeusts"] == 1
    assert counts[MINE, "name-7"] == 2
    assert counts[MINE, "(further names)"] == 4800, "those beyond are told as a number"
    assert len(counts) == 202


def test_many_projects_are_told_in_calls_that_the_control_plane_takes():
    control, refusals = Control(), Refusals()
    control.away = False
    projects = [f"{number:026d}" for number in range(12)]
    for project in projects:
        for number in range(200):
            refusals.add(project, Ecosystem.NPM, f"name-{number}")
    asyncio.run(refusals.tell(control))
    assert len(control.told) == 2400
    assert {one.project_id for one in control.told} == {*projects}
    assert control.calls == 3


def test_a_large_index_is_made_once_for_a_project_and_anew_for_other_lists():
    made, other = MadeIndexes(25_000), Allowed(PackageLists(digest="e"))
    asked = []

    def index(allowed, key, size=10_000):
        return made.get(allowed, key, lambda: asked.append((allowed, key)) or bytes([len(asked)]) * size)

    first = index(ALLOWED, (MINE, "a"))
    assert index(ALLOWED, (MINE, "a")) is first
    assert index(ALLOWED, (OTHER, "a")) != first, "another project's is another"
    assert index(other, (MINE, "a")) != first, "what is off the list must not show"
    assert asked == [(ALLOWED, (MINE, "a")), (ALLOWED, (OTHER, "a")), (other, (MINE, "a"))]
    for key in ("b", "c"):
        index(other, key)
    index(other, "c")
    index(other, (MINE, "a"))
    assert [key for _, key in asked[3:]] == ["b", "c", (MINE, "a")], (
        "the one that was not wanted longest goes first"
    )
    for _ in range(2):
        index(other, "small", 100)
        index(other, "huge", 30_000)
    assert [key for _, key in asked[6:]] == ["small", "huge"] * 2, "neither is kept"


def test_a_packument_has_the_highest_stable_version_as_the_latest():
    versions = [
        package(Ecosystem.NPM, "tidy", version, (f"tidy-{version}.tgz", version.encode()))
        for version in ("1.10.0", "1.9.0", "2.0.0-rc.1")
    ]
    page = json.loads(indexes.npm_packument("tidy", versions, "http://here"))
    assert page["dist-tags"] == {"latest": "1.10.0"}
    assert list(page["versions"]) == ["1.9.0", "1.10.0", "2.0.0-rc.1"]
    assert page["versions"]["1.9.0"]["dist"]["tarball"] == "http://here/packages/npm/tidy/-/tidy-1.9.0.tgz"


def test_text_of_a_registry_cannot_break_out_of_an_index():
    facts = {"requires_python": '"><script>alert(1)</script>', "Imports": "a\nPackage: evil\nVersion: 1"}
    html = indexes.pypi_html("own", [OWN.model_copy(update={"facts": facts})]).decode()
    assert "<script>" not in html
    cran = package(
        Ecosystem.CRAN, "tidy", "1.0", ("tidy_1.0.tar.gz", b"x"), facts=facts, licence="MIT\nPackage: evil"
    )
    text = indexes.cran_packages([cran], packed=False).decode()
    assert "\nPackage: evil" not in text


def test_an_index_of_conda_holds_the_files_of_its_platform_with_their_facts():
    facts = {"depends": json.dumps({"noarch/tidy-1.0-py_0.conda": ["python"]}), "build_number": '{"x": 1}'}
    listed = package(
        Ecosystem.CONDA,
        "tidy",
        "1.0",
        ("tidy-1.0-py_0.conda", b"x"),
        channel="forge",
        subdir="noarch",
        facts=facts,
    )
    page = json.loads(indexes.conda_repodata("noarch", [listed]))
    entry = page["packages.conda"]["tidy-1.0-py_0.conda"]
    assert (entry["depends"], entry["build"], entry["build_number"]) == (["python"], "py_0", 0)
    assert json.loads(indexes.conda_repodata("linux-64", [listed]))["packages.conda"] == {}
