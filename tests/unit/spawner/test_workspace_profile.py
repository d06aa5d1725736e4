"""What a plan may and may not ask for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from broch_spawner.workspace import PlanRefused, workspace_profile
from broch_workspaces.plan import Mount, SpawnPlan
from broch_workspaces.sandbox.memory import descendants, process_table, proportional_bytes


@pytest.fixture
def state(tmp_path):
    for folder in ("datasets/d1", "zones/p1/project", "zones/p1/imports", "zones/p1/home/x"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def profile_of(state, *mounts, home="zones/p1/home/x"):
    plan = SpawnPlan(
        workspace_id="ws", principal="w" + "a" * 24, project_id="p", project_name="P", home=str(state / home),
        mounts=tuple(Mount(source=str(state / source), target=target, read_only=ro) for source, target, ro in mounts),
        deadline_at=datetime.now(UTC), door_token="s3cret",
    )  # fmt: skip
    return workspace_profile(
        plan, state_dir=state, door_dir=state / "door", hub_socket=state / "hub.sock", env={}
    )


def shared_profile(state):
    plan = SpawnPlan(
        workspace_id="ws", principal="w" + "a" * 24, project_id="p", project_name="P", home=None, shared=True,
        mounts=(Mount(source=str(state / "zones/p1/project"), target="/project", read_only=False),),
        deadline_at=datetime.now(UTC), door_token="",
    )  # fmt: skip
    return workspace_profile(
        plan, state_dir=state, door_dir=state / "door", hub_socket=state / "hub.sock", env={}
    )


def test_a_shared_workspace_has_no_door_and_a_home_that_is_gone_with_it(state):
    shared, own = shared_profile(state), profile_of(state)
    assert "/home/researcher" not in {bind.target for bind in shared.binds}
    assert "/home/researcher" in {folder.target for folder in shared.tmpfs}
    for profile, there in ((own, True), (shared, False)):
        assert ("/run/broch/door" in {bind.target for bind in profile.binds}) is there
        assert ("/run/broch/token" in {file.target for file in profile.files}) is there
        assert ("/run/broch/door.sock" in {link.target for link in profile.links}) is there


def test_a_plan_becomes_its_mounts(state):
    profile = profile_of(
        state,
        ("datasets/d1", "/data/cohort", True),
        ("zones/p1/imports", "/imports", True),
        ("zones/p1/project", "/project", False),
    )
    writable = [bind.target for bind in profile.binds if not bind.read_only]
    assert writable == ["/project", "/home/researcher"]
    assert {"/data/cohort", "/imports"} <= {bind.target for bind in profile.binds}
    assert "s3cret" not in repr(profile)


@pytest.mark.parametrize(
    ("source", "target", "read_only"),
    [
        ("datasets/d1", "/data/cohort", False),
        ("zones/p1/imports", "/imports", False),
        ("datasets/d1", "/etc", True),
        ("datasets/d1", "/data/a/b", True),
        ("datasets/d1", "/data/.x", True),
        ("zones/p1/project", "/data/cohort", True),
        ("keys", "/data/cohort", True),
        ("datasets/missing", "/data/cohort", True),
        ("datasets/../keys", "/data/cohort", True),
        ("datasets", "/data/cohort", True),
    ],
)
def test_a_plan_that_asks_for_more_is_refused(state, source, target, read_only):
    (state / "keys").mkdir()
    with pytest.raises(PlanRefused):
        profile_of(state, (source, target, read_only))


def test_a_linked_folder_is_refused(state):
    (state / "datasets" / "link").symlink_to(state / "zones")
    with pytest.raises(PlanRefused):
        profile_of(state, ("datasets/link", "/data/cohort", True))
    with pytest.raises(PlanRefused):
        profile_of(state, home="datasets/d1")


def fake_process(proc, pid, parent, pages, name="x"):
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} " + "0 " * 19 + f"{pages} 0\n")
    (folder / "smaps_rollup").write_text("00 [rollup]\nRss: 8 kB\nPss: 4 kB\n")


def test_the_watchdog_counts_everything_below_a_sandbox(tmp_path: Path):
    fake_process(tmp_path, 10, 1, 5)
    fake_process(tmp_path, 11, 10, 7, name="a) S 99 (b")
    fake_process(tmp_path, 12, 11, 9)
    fake_process(tmp_path, 20, 1, 1000)
    table = process_table(tmp_path)
    assert sorted(descendants(table, 10)) == [10, 11, 12]
    assert table[11] == (10, 7 * 4096)
    assert proportional_bytes([10, 12, 999], tmp_path) == (8192, 0)
