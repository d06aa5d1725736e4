"""A session that the provider ends is over with its record, or not at all; the provider may then say it again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broch_api.signin.oidc import logout as module
from broch_api.signin.oidc.ended import LoggedOut
from broch_api.signin.oidc.logout import BackChannel
from broch_core.tables.people import UserSession
from support.failing_audit import AuditUnwritable, audit_failing
from support.worlds import World, make_world

ISSUER, SID = "https://id.example.org/realms/broch", "sid-of-ruth"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_a_logout_that_cannot_be_recorded_ends_nothing_and_may_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    started = world.sessions.start("ruth", kind="browser")
    with world.store.write(housekeeping=True) as change:
        person = world.people["ruth"]
        person.issuer, person.subject = ISSUER, "subject-of-ruth"
        row = change.session.get_one(UserSession, started.session_id)
        row.idp_session = SID
        change.session.add_all([change.session.merge(person), row])
    told = SimpleNamespace(
        jti="once", sid=SID, sub=None, subject=None, issued_at=None, iat=None, issuer=ISSUER
    )
    # What a token proves is tried in test_oidc_logout_tokens.py; here it is believed.
    monkeypatch.setattr(module, "check_logout_token", lambda *_, **__: told)
    monkeypatch.setattr(
        module,
        "_named",
        lambda session, *_, **__: [
            row for row in [session.get_one(UserSession, started.session_id)] if row.ended_at is None
        ],
    )
    provider: Any = SimpleNamespace(
        keys=lambda _: None, expected=None, settings=SimpleNamespace(issuer=ISSUER)
    )
    sign_in: Any = SimpleNamespace(provider=provider, logged_out=LoggedOut())
    channel = BackChannel(world.store, sign_in)
    with audit_failing(world.store.engine, every=True), pytest.raises(AuditUnwritable):
        channel.receive("token")
    assert world.sessions.actor(started.token) is not None
    assert channel.receive("token") == 1
    assert world.sessions.actor(started.token) is None
    with pytest.raises(module.LogoutRefused):
        channel.receive("token")
