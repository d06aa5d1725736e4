"""Choosing what must be kept reachable when root is given up (the drop itself is tried in tests/integration)."""

import os
from pathlib import Path

import pytest

from broch_workspaces.sandbox import account
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable


def test_a_path_below_another_is_reached_through_it():
    paths = [Path("/a/b"), Path("/a"), Path("/ab"), Path("/a/b/c"), Path("/ab")]
    assert account.outermost(paths) == [Path("/a"), Path("/ab")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_ordinary_user_is_told_which_path_is_out_of_reach(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with pytest.raises(SandboxUnavailable) as caught:
        account.drop_privileges([closed], [])
    assert caught.value.cause is Cause.UNREACHABLE_PATH
    assert str(closed) in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root would drop")
def test_an_ordinary_user_stays_and_gets_the_folder(tmp_path):
    state = tmp_path / "state"
    who = account.drop_privileges([tmp_path], [state])
    assert not who.dropped
    assert who.uid == os.geteuid()
    assert state.stat().st_mode & 0o777 == 0o700
