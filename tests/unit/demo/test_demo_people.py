"""The cast of the demo can play the whole journey, and nobody can play two parts that must stay apart."""

import re
from collections import Counter
from pathlib import Path

from broch.demo.datasets import DATASETS
from broch.demo.people import PEOPLE, PROJECTS
from broch_core.actors import PlatformRole

MEMBERS = {member.handle for project in PROJECTS for member in project.members}


def test_there_are_seven_people_with_the_roles_of_a_tre():
    roles = Counter(role for person in PEOPLE for role in person.platform_roles)
    assert len(PEOPLE) == 7
    assert roles == {
        PlatformRole.REVIEWER: 2,
        PlatformRole.STEWARD: 1,
        PlatformRole.ASSET_OWNER: 1,
        PlatformRole.ADMIN: 1,
    }
    assert {person.handle for person in PEOPLE if not person.platform_roles} == MEMBERS
    assert len(MEMBERS) == 2


def test_handles_are_short_and_unique():
    handles = [person.handle for person in PEOPLE]
    assert len(set(handles)) == len(handles)
    assert all(re.fullmatch(r"[a-z]{2,8}", handle) for handle in handles)


def test_every_dataset_has_one_owner_who_is_an_asset_owner():
    owners = [(slug, person) for person in PEOPLE for slug in person.owns]
    assert sorted(slug for slug, _ in owners) == sorted(dataset.slug for dataset in DATASETS)
    assert all(PlatformRole.ASSET_OWNER in person.platform_roles for _, person in owners)


def test_projects_name_only_datasets_and_people_that_exist():
    assert len({project.slug for project in PROJECTS}) == len(PROJECTS) == 2
    for project in PROJECTS:
        assert set(project.datasets) <= {dataset.slug for dataset in DATASETS}
        assert {member.handle for member in project.members} <= {person.handle for person in PEOPLE}
        assert any(member.may_export for member in project.members)
        assert project.days > 0


def test_the_projects_share_no_member_so_that_each_is_foreign_to_the_other():
    first, second = ({member.handle for member in project.members} for project in PROJECTS)
    assert first.isdisjoint(second)


def test_the_guide_names_everybody_and_everything():
    guide = (Path(__file__).parents[3] / "docs" / "demo.md").read_text(encoding="utf-8")
    for person in PEOPLE:
        assert f"| `{person.handle}` | {person.name} |" in guide
    for project in PROJECTS:
        assert project.name in guide
    for dataset in DATASETS:
        assert f"`/data/{dataset.slug}`" in guide
