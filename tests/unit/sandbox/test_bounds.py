"""What bounds a workspace, and what is said of it."""

import os
from pathlib import Path

import pytest

from broch_workspaces.plan import Profile
from broch_workspaces.sandbox import bounds, cgroup
from broch_workspaces.sandbox.errors import CgroupUnavailable

GIB = 1 << 30


def proc_of(tmp_path, groups, mounts):
    (tmp_path / "cgroup").write_text(groups)
    (tmp_path / "mountinfo").write_text(mounts)
    return tmp_path


def mounted(point, root="/"):
    return f"22 27 0:21 / /proc rw - proc proc rw\n36 31 0:35 {root} {point} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "own"),
    [
        ("0::/user.slice/run-1.scope\n", mounted("/sys/fs/cgroup"), "/sys/fs/cgroup/user.slice/run-1.scope"),
        ("0::/\n", mounted("/sys/fs/cgroup"), "/sys/fs/cgroup"),
        ("4:memory:/x\n0::/a/b\n", mounted("/sys/fs/cgroup/unified"), "/sys/fs/cgroup/unified/a/b"),
        ("0::/a/b\n", mounted("/cg\\040v2", "/a"), "/cg v2/b"),
    ],
)
def test_our_own_group_is_found(tmp_path, groups, mounts, own):
    assert cgroup.own_group(proc_of(tmp_path, groups, mounts)) == Path(own)


@pytest.mark.parametrize(
    ("groups", "mounts", "why"),
    [
        ("4:memory:/x\n", mounted("/sys/fs/cgroup"), "no control groups of version 2"),
        ("0::/\n", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "not mounted"),
        ("0::/elsewhere\n", mounted("/sys/fs/cgroup", "/a"), "not mounted"),
    ],
)
def test_where_there_is_none_the_reason_is_told(tmp_path, groups, mounts, why):
    with pytest.raises(CgroupUnavailable, match=why):
        cgroup.own_group(proc_of(tmp_path, groups, mounts))
    with pytest.raises(CgroupUnavailable, match="cannot be seen"):
        cgroup.own_group(tmp_path / "nothing")


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Return a folder that looks like our own group, with us alone in it."""
    (tmp_path / "cgroup.type").write_text("domain\n")
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(cgroup, "own_group", lambda: tmp_path)
    return tmp_path


def test_a_group_of_our_own_will_do_and_looking_changes_nothing(group):
    before = sorted(group.iterdir())
    assert cgroup.foresee() == (group, group)
    assert sorted(group.iterdir()) == before


def test_a_group_without_memory_or_with_others_in_it_will_not(group):
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    with pytest.raises(CgroupUnavailable, match="shares its control group"):
        cgroup.foresee()
    (group / "cgroup.controllers").write_text("hugetlb\n")
    with pytest.raises(CgroupUnavailable, match="memory controller"):
        cgroup.foresee()


def said(zones):
    return {bound.what: bound for bound in bounds.in_force(zones)}


def test_the_kernel_is_said_to_bound_where_it_does(group, tmp_path):
    found = said(tmp_path / "zones")
    assert found["memory"].best
    assert found["processor"].best
    assert found["memory"].remedy is None


def test_a_watchdog_is_said_to_bound_otherwise_with_the_reason_and_the_remedy(monkeypatch, tmp_path):
    def none():
        raise CgroupUnavailable("there is none")

    monkeypatch.setattr(cgroup, "foresee", none)
    found = said(tmp_path / "zones")
    assert not found["memory"].best
    assert "50 to 250 ms, for there is none" in found["memory"].how
    assert "Delegate=yes" in found["memory"].remedy
    assert "nice" in found["processor"].how
    assert found["processes"].best


def test_zones_on_a_disk_of_their_own_are_told_from_those_that_share_one(tmp_path):
    assert not said(tmp_path / "not" / "yet")["disk"].best
    assert "docs/workspaces.md" in said(tmp_path)["disk"].remedy
    assert said(Path("/proc"))["disk"].best  # a file system of its own, whatever else it is


def test_a_plan_becomes_limits_and_quotas(tmp_path):
    plan = Profile(memory_bytes=GIB, processes=7, cpu=1.5, home_bytes=2 * GIB, project_bytes=3 * GIB)
    limits = bounds.limits_of(plan)
    assert (limits.data_bytes, limits.processes, limits.cores, limits.nice) == (GIB, 7, 2, bounds.NICE)
    quotas = bounds.quotas_of(plan, home=tmp_path / "h", project=tmp_path / "p")
    assert [(quota.folder.name, quota.size) for quota in quotas] == [("h", 2 * GIB), ("p", 3 * GIB)]
    assert [quota.shown for quota in bounds.quotas_of(plan, home=tmp_path, project=None)] == ["Your home"]
