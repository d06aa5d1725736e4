"""What a zone shall be: worked out from projects, members, grants and deliveries, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from broch_api.zones.specs import ZoneDefaults, ZoneFacts, spec_of, state_of, whole
from broch_core.ids import new_id
from broch_core.lifecycles import ProjectStatus
from broch_core.tables.datasets import DatasetVersion
from broch_core.tables.projects import Project, UserNamespaces
from broch_core.tables.zones import DeliveryOp, ZoneDelivery
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import Quota, ZoneState

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DEFAULTS = ZoneDefaults(
    store=parse_source({"type": "nfs", "server": "nfs.example.org", "path": "/export/datasets"}),
    quota=Quota(cpu=8),
    home_bytes=1 << 30,
    project_bytes=2 << 30,
    imports_bytes=3 << 30,
)


def project(status: ProjectStatus = ProjectStatus.ACTIVE, **values: object) -> Project:
    first, last = date(2026, 11, 1), date(2026, 12, 31)
    return Project(**({"slug": "one", "name": "One", "status": status, "starts_on": first, "ends_on": last} | values))  # fmt: skip


def facts(of: Project, *, members: int = 1, versions: int = 1, deliveries: int = 0) -> ZoneFacts:
    return ZoneFacts(
        of,
        [new_id() for _ in range(members)],
        [DatasetVersion(dataset_id=new_id(), number=1, total_bytes=7) for _ in range(versions)],
        [
            ZoneDelivery(project_id=of.id, op=DeliveryOp.PLACE, name="a.py", sha256="0" * 64, size=1)
            for _ in range(deliveries)
        ],
    )


@pytest.mark.parametrize(
    ("status", "values", "state"),
    [
        (ProjectStatus.ACTIVE, {}, ZoneState.OPEN),
        (ProjectStatus.FROZEN, {}, ZoneState.FROZEN),
        (ProjectStatus.ENDED, {}, ZoneState.ENDED),
        (ProjectStatus.ACTIVE, {"ends_on": date(2026, 11, 28)}, ZoneState.ENDED),
        (ProjectStatus.ACTIVE, {"ends_on": date(2026, 11, 29)}, ZoneState.OPEN),
        (ProjectStatus.FROZEN, {"ends_on": date(2026, 11, 28)}, ZoneState.ENDED),
        (ProjectStatus.ACTIVE, {"starts_on": date(2026, 11, 30)}, ZoneState.FROZEN),
    ],
)
def test_a_zone_follows_its_project(status: ProjectStatus, values: dict[str, object], state: ZoneState):
    assert state_of(project(status, **values), NOW) is state


def test_each_version_is_mounted_from_its_own_folder_of_the_store():
    one = facts(project(), versions=2)
    spec = spec_of(one, DEFAULTS, NOW)
    assert {volume.source.path for volume in spec.data} == {
        f"/export/datasets/{version.id}" for version in one.versions
    }


def test_an_ended_project_mounts_and_delivers_nothing_and_keeps_its_homes_named():
    spec = spec_of(facts(project(ProjectStatus.ENDED), members=2, deliveries=1), DEFAULTS, NOW)
    assert spec.data == ()
    assert spec.deliveries == ()
    assert len(spec.homes) == 2


def test_only_an_ended_zone_waits_for_the_hub_and_that_is_no_other_zone():
    running = ZoneFacts(project(), (), (), (), held=True)
    ended = ZoneFacts(project(ProjectStatus.ENDED), (), (), (), held=True)
    assert not spec_of(running, DEFAULTS, NOW).held
    waiting = spec_of(ended, DEFAULTS, NOW)
    over = spec_of(replace(ended, held=False), DEFAULTS, NOW)
    assert waiting.held
    assert not over.held
    assert waiting.digest() == over.digest()
    assert whole([waiting]).digest != whole([over]).digest, "who waits is told"


def test_a_project_has_its_own_quota_or_the_platforms():
    own = {"cpu": 2, "memory_bytes": 1 << 30, "gpus": 1, "pods": 3}
    assert spec_of(facts(project()), DEFAULTS, NOW).quota == Quota(cpu=8)
    assert spec_of(facts(project(quota=own)), DEFAULTS, NOW).quota.gpus == 1


def test_required_user_namespaces_are_passed_on():
    asked = project(user_namespaces=UserNamespaces.REQUIRED)
    assert spec_of(facts(asked), DEFAULTS, NOW).user_namespaces == "required"


def test_deliveries_come_and_go_without_changing_the_zone_but_wake_who_waits():
    of = project()
    without, with_one = facts(of), facts(of, deliveries=1)
    members, versions = without.members, without.versions
    with_one = ZoneFacts(of, members, versions, with_one.deliveries)
    before, after = spec_of(without, DEFAULTS, NOW), spec_of(with_one, DEFAULTS, NOW)
    assert before.digest() == after.digest()
    assert whole([before]).digest != whole([after]).digest


def test_the_order_of_members_and_projects_changes_nothing():
    of = project()
    one = facts(of, members=3, versions=2)
    turned = ZoneFacts(of, one.members[::-1], one.versions[::-1], ())
    assert spec_of(one, DEFAULTS, NOW) == spec_of(turned, DEFAULTS, NOW)
    other = spec_of(facts(project(slug="two")), DEFAULTS, NOW)
    assert (
        whole([spec_of(one, DEFAULTS, NOW), other]).digest
        == whole([other, spec_of(one, DEFAULTS, NOW)]).digest
    )


def test_another_member_or_grant_is_another_zone():
    of = project()
    one = facts(of)
    more = ZoneFacts(of, [*one.members, new_id()], one.versions, ())
    less = ZoneFacts(of, one.members, [], ())
    digests = {spec_of(each, DEFAULTS, NOW).digest() for each in (one, more, less)}
    assert len(digests) == 3
    assert spec_of(one, DEFAULTS, NOW + timedelta(hours=1)).digest() in digests
