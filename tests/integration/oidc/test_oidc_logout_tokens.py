"""What logout tokens end, and what they do not: signed by a provider that says what the test wants."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from sqlmodel import select

from broch_api.signin.oidc.errors import LogoutRefused, NotProven
from broch_api.signin.oidc.logout import BackChannel
from broch_api.signin.oidc.provider import Tokens
from broch_api.signin.oidc.service import Answer, OidcSignIn
from broch_api.signin.oidc.tokens import LOGOUT_EVENT
from broch_api.signin.ways import Wish
from broch_core.audit.denials import DenialLog
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.tables.people import UserSession
from support.hostile_provider import KEY
from support.worlds import World, make_world

_names = itertools.count(1)


@pytest.fixture
def world(tmp_path, hostile) -> World:
    world = make_world(tmp_path)
    for handle in ("ruth", "robin"):
        person = world.people[handle]
        person.issuer, person.subject = hostile.issuer, f"subject-of-{handle}"
        world.add(person)
    return world


@pytest.fixture
def sign_in(world, us) -> OidcSignIn:
    return OidcSignIn(world.store, world.sessions, us, DenialLog(world.store))


@pytest.fixture
def channel(world, sign_in) -> BackChannel:
    return BackChannel(world.store, sign_in)


def begin(world, handle: str, sid: str | None, *, ago: timedelta = timedelta(minutes=5)) -> str:
    """Begin a session; return its id."""
    with world.store.write() as change:
        started = world.sessions.open(change, world.people[handle], kind="browser", idp_session=sid)
    with world.store.write(housekeeping=True) as change:
        row = change.session.get_one(UserSession, started.session_id)
        row.started_at = utc_now() - ago
        change.session.add(row)
    return started.session_id


def logout(hostile, **claims) -> str:
    now = int(time.time())
    said = {
        "iss": hostile.issuer,
        "aud": "broch",
        "iat": now,
        "exp": now + 60,
        "jti": f"j-{next(_names)}",
        "events": {LOGOUT_EVENT: {}},
        **claims,
    }
    return jwt.encode({"alg": "RS256", "kid": "one", "typ": "logout+jwt"}, said, KEY)


def ended(world) -> set[str]:
    with world.store.read() as session:
        return {row.id for row in session.exec(select(UserSession)) if row.ended_at is not None}


def test_a_session_of_the_provider_ends_its_sessions_here_and_no_others(world, hostile, channel):
    mine = begin(world, "ruth", "a")
    begin(world, "ruth", "b")
    begin(world, "robin", "c")
    assert channel.receive(logout(hostile, sid="a")) == 1
    assert ended(world) == {mine}


def test_a_person_ends_all_their_sessions_that_had_begun(world, hostile, channel):
    first, second = begin(world, "ruth", "a"), begin(world, "ruth", None)
    begin(world, "robin", "c")
    begin(world, "ruth", "d", ago=timedelta(minutes=-2))
    assert channel.receive(logout(hostile, sub="subject-of-ruth")) == 2
    assert ended(world) == {first, second}
    with world.store.read() as session:
        found = session.exec(select(AuditRecord).where(AuditRecord.action == "session:end")).all()
    assert {record.subject_id for record in found} == {first, second}
    assert {record.actor_id for record in found} == {"system"}


def test_a_session_of_another_person_is_not_ended_by_its_name(world, hostile, channel):
    begin(world, "ruth", "a")
    assert channel.receive(logout(hostile, sid="a", sub="subject-of-robin")) == 0
    assert channel.receive(logout(hostile, sid="a", sub="nobody")) == 0
    assert ended(world) == set()
    assert channel.receive(logout(hostile, sid="a", sub="subject-of-ruth")) == 1


MEANWHILE = {
    "its session": {"sid": "a"},
    "the person": {"sub": "subject-of-ruth"},
    "its session, by both names": {"sid": "a", "sub": "subject-of-ruth"},
    "another session": {"sid": "b"},
    "another person": {"sub": "subject-of-robin"},
}


@pytest.mark.parametrize("ended_there", MEANWHILE)
@pytest.mark.parametrize("moment", ["before our session stands", "after it stands, before it is given out"])
def test_a_logout_that_comes_while_a_sign_in_is_under_way_is_not_lost(
    world, hostile, us, sign_in, channel, monkeypatch, ended_there, moment
):
    departure = sign_in.depart(None, Wish("/", None))
    sent = {name: values[0] for name, values in parse_qs(urlsplit(departure.address).query).items()}
    now = int(time.time())
    said = {
        "iss": hostile.issuer,
        "aud": "broch",
        "sub": "subject-of-ruth",
        "sid": "a",
        "nonce": sent["nonce"],
        "iat": now,
        "auth_time": now,
        "exp": now + 60,
        "amr": sorted(us.settings.mfa),
    }
    token = jwt.encode({"alg": "RS256", "kid": "one"}, said, KEY)
    ends = logout(hostile, **MEANWHILE[ended_there])
    admit = sign_in._admit

    def redeem(_code, _verifier):
        if moment.startswith("before"):
            assert channel.receive(ends) == 0
        return Tokens(id_token=token)

    def admitted(*given):
        started = admit(*given)
        if moment.startswith("after"):
            channel.receive(ends)
        return started

    monkeypatch.setattr(us, "redeem", redeem)
    monkeypatch.setattr(sign_in, "_admit", admitted)
    answer = Answer(sent["state"], "code", None, None)
    if ended_there.startswith("another"):
        started, _ = sign_in.arrive(answer, departure.browser)
        assert world.sessions.actor(started.token) is not None
        return
    with pytest.raises(NotProven):
        sign_in.arrive(answer, departure.browser)
    with world.store.read() as session:
        [row] = session.exec(select(UserSession))
        assert row.ended_at is not None
        found = session.exec(select(AuditRecord).where(AuditRecord.action == "session:end")).all()
    assert [record.subject_id for record in found] == [row.id]


def test_a_token_works_once(world, hostile, channel):
    begin(world, "ruth", "a")
    token = logout(hostile, sid="a")
    assert channel.receive(token) == 1
    with pytest.raises(LogoutRefused, match="jti"):
        channel.receive(token)


def test_what_has_ended_is_ended_once(world, hostile, channel):
    begin(world, "ruth", "a")
    assert channel.receive(logout(hostile, sid="a")) == 1
    assert channel.receive(logout(hostile, sid="a")) == 0


def test_a_token_for_another_client_ends_nothing(world, hostile, channel):
    begin(world, "ruth", "a")
    with pytest.raises(LogoutRefused):
        channel.receive(logout(hostile, sid="a", aud="grafana"))
    assert ended(world) == set()
