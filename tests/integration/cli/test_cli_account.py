"""Signing in on the command line: where the token lies, who can read it, and that it shows nowhere else."""

from __future__ import annotations

import json
import stat
from datetime import timedelta

import pytest
from sqlmodel import select, update

from broch.cli.client import Api
from broch.cli.credentials import Credential
from broch_core.clock import utc_now
from broch_core.tables.people import UserSession

from .conftest import Served


def open_sessions(served: Served) -> int:
    with served.intake.world.store.read() as session:
        return sum(row.ended_at is None for row in session.exec(select(UserSession)))


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_sign_in_is_kept_where_only_its_owner_can_read_it(served: Served) -> None:
    said = served.ok("login", "--as", "ruth")
    assert "as ruth" in said
    assert mode(served.credentials) == 0o600
    assert mode(served.credentials.parent) == 0o700
    assert json.loads(served.credentials.read_text())[served.server]["handle"] == "ruth"
    assert "Ruth (ruth)" in served.ok("whoami")


def test_the_token_is_never_printed(served: Served) -> None:
    said = served.ok("login", "--as", "ruth")
    token = json.loads(served.credentials.read_text())[served.server]["token"]
    for words in (
        ["whoami"],
        ["whoami", "--json"],
        ["project", "list", "--json"],
        ["airlock", "show", "0" * 26],
    ):
        assert token not in served.run(*words).output
    assert token not in said
    assert token not in repr(Credential(token, "ruth", "")) + repr(Api("http://127.0.0.1:1", token))


def test_signing_out_ends_the_session_and_forgets_the_token(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    assert open_sessions(served) == 1
    served.ok("logout")
    assert open_sessions(served) == 0
    assert json.loads(served.credentials.read_text()) == {}
    assert "Sign in: broch login" in served.fails("whoami")
    assert "Nobody is signed in" in served.ok("logout")


def test_a_new_sign_in_ends_the_one_before(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    served.ok("login", "--as", "robin")
    assert open_sessions(served) == 1
    assert "robin" in served.ok("whoami")


@pytest.mark.parametrize("words", [["--as", "sam", "whoami"], ["whoami", "--as", "sam"]])
def test_as_signs_in_for_one_command_only(served: Served, words: list[str]) -> None:
    served.ok("login", "--as", "ruth")
    assert "Sam (sam)" in served.ok(*words)
    assert open_sessions(served) == 1
    assert "Ruth (ruth)" in served.ok("whoami")


def test_the_session_of_one_command_ends_when_the_command_fails_too(served: Served) -> None:
    served.fails("project", "show", "beta", "--as", "ruth")
    assert open_sessions(served) == 0


def test_nobody_by_that_name_is_said_and_nothing_is_kept(served: Served) -> None:
    assert "Nobody here has the handle 'nemo'" in served.fails("login", "--as", "nemo")
    assert not served.credentials.exists()


def test_a_login_needs_a_handle(served: Served) -> None:
    assert "broch login --as ada" in served.fails("login", code=2)


def test_credentials_that_others_can_read_are_refused_with_the_remedy(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    served.credentials.chmod(0o644)
    assert "chmod 600" in served.fails("whoami")
    served.credentials.chmod(0o600)
    served.ok("whoami")


def test_a_link_in_place_of_the_credentials_is_refused(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    moved = served.home / "elsewhere.json"
    served.credentials.rename(moved)
    served.credentials.symlink_to(moved)
    served.fails("whoami")


def test_damaged_credentials_are_named(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    served.credentials.write_text("{")
    assert "is damaged" in served.fails("whoami")


def test_a_sign_in_that_has_expired_says_how_to_sign_in_again(served: Served) -> None:
    served.ok("login", "--as", "ruth")
    served.ok("whoami")
    world = served.intake.world
    with world.store.write(housekeeping=True) as change:
        change.session.exec(update(UserSession).values(expires_at=utc_now() - timedelta(seconds=1)))
    for words in (["whoami"], ["project", "list"], ["airlock", "queue"]):
        line = served.fails(*words)
        assert line == (
            "broch: You are not signed in, or your session has ended. Sign in: broch login --as HANDLE"
        )
    served.ok("login", "--as", "ruth")
    served.ok("whoami")
