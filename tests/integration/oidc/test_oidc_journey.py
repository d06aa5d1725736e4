"""Signing in by a real Keycloak, as `broch keycloak setup` leaves it."""

from __future__ import annotations

import base64
import hashlib

from sqlmodel import select

from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.tables.people import LoginAttempt, Person, UserSession
from support.oidc import forms_of, query_of


def person_row(estate, person) -> Person:
    with estate.plane.world.store.read() as rows:
        return rows.get_one(Person, person.session()["person"]["id"])


def records(estate, action: str, subject_id: str) -> list[AuditRecord]:
    with estate.plane.world.store.read() as rows:
        return list(
            rows.exec(
                select(AuditRecord).where(AuditRecord.action == action, AuditRecord.subject_id == subject_id)
            )
        )


def test_somebody_with_two_factors_comes_in_and_goes_on_where_they_wanted(estate):
    person = estate.person()
    account = estate.account("broch-reviewers", name="Ruth Möller")
    answer = person.sign_in(account, "/projects?x=1")
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/projects?x=1"
    session = person.session()
    assert session["person"]["display_name"] == "Ruth Möller"
    assert session["person"]["handle"] == account.username
    assert session["roles"] == ["reviewer"]
    assert session["confined"] is True
    assert person.get("/projects").status_code == 200
    with estate.plane.world.store.read() as rows:
        assert rows.get_one(UserSession, session["id"]).idp_session


def test_what_goes_to_the_provider_is_bound_and_says_no_secret(estate):
    person = estate.person()
    query = query_of(person.leave())
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["prompt"] == "login"
    assert query["redirect_uri"] == f"{estate.plane.origin}/sign-in/callback"
    cookie = person.http.cookies["__Host-broch-attempt"]
    with estate.plane.world.store.read() as rows:
        attempts = rows.exec(select(LoginAttempt)).all()
    mine = next(
        one for one in attempts if one.state_hash == hashlib.sha256(query["state"].encode()).hexdigest()
    )
    challenge = (
        base64.urlsafe_b64encode(hashlib.sha256(mine.verifier.encode()).digest()).rstrip(b"=").decode()
    )
    assert query["code_challenge"] == challenge
    assert mine.browser_hash == hashlib.sha256(cookie.encode()).hexdigest()
    assert query["nonce"] not in repr(mine)
    assert mine.verifier not in query.values()


def test_a_place_elsewhere_is_never_gone_to(estate):
    answer = estate.person().sign_in(estate.account(), "https://evil.test/")
    assert answer.headers["location"] == "/"


def test_whoever_comes_again_is_the_same_person(estate):
    account = estate.account()
    first, second = estate.person(), estate.person()
    first.sign_in(account)
    second.sign_in(account, code=account.code_of_the_next())
    assert first.session()["person"] == second.session()["person"]


def test_a_handle_that_is_here_already_is_not_taken_over(estate):
    ruth = estate.plane.world.people["ruth"]
    account = estate.account_named("ruth")
    person = estate.person()
    person.sign_in(account)
    row = person_row(estate, person)
    assert row.id != ruth.id
    assert row.handle == "ruth-2"
    assert (row.issuer, row.subject) == (estate.provider.issuer(), account.id)
    with estate.plane.world.store.read() as rows:
        assert rows.get_one(Person, ruth.id).subject is None
    assert person.session()["memberships"] == {}


def test_roles_follow_the_groups_at_each_sign_in_and_each_change_is_on_record(estate):
    account = estate.account("broch-admins", "broch-reviewers")
    person = estate.person()
    person.sign_in(account)
    assert person.session()["roles"] == ["admin", "reviewer"]
    assert person.get("/people").status_code == 200
    groups = {group["name"]: group["id"] for group in estate.admin.get_groups()}
    estate.admin.group_user_remove(account.id, groups["broch-admins"])
    estate.admin.group_user_add(account.id, groups["broch-stewards"])
    person.sign_in(account, code=account.code_of_the_next())
    session = person.session()
    assert session["roles"] == ["reviewer", "steward"]
    assert person.get("/people").status_code == 403
    found = records(estate, "person:roles", session["person"]["id"])
    assert [record.facts for record in found] == [{"given": ["steward"], "taken": ["admin"]}]


def test_a_group_of_the_same_name_below_another_one_gives_nothing(estate):
    parent = estate.admin.create_group({"name": "students"}, skip_exists=True)
    nested = estate.admin.create_group({"name": "broch-admins"}, parent=parent)
    account = estate.account()
    estate.admin.group_user_add(account.id, nested)
    person = estate.person()
    person.sign_in(account)
    assert person.session()["roles"] == []


def test_somebody_who_was_disabled_here_does_not_come_in(estate):
    account = estate.account()
    person = estate.person()
    person.sign_in(account)
    row = person_row(estate, person)
    row.disabled_at = utc_now()
    estate.plane.world.add(row)
    answer = person.sign_in(account, code=account.code_of_the_next())
    assert answer.status_code == 403
    assert "was ended" in answer.text
    assert not person.signed_in()
    assert [record.outcome for record in records(estate, "session:start", row.id)] == ["denied"]


def test_signing_out_goes_on_to_the_provider_and_ends_the_session_there(estate):
    account = estate.account()
    person = estate.person()
    person.sign_in(account)
    assert len(estate.admin.get_sessions(account.id)) == 1
    page = person.get("/")
    form = next(form for form in forms_of(page) if form.action.endswith("/sign-out"))
    answer = person.post_form(form)
    assert "__Host-broch=" in answer.headers["set-cookie"]
    assert not person.signed_in()
    there = person.http.get(person.next_stop(answer))
    assert there.status_code == 200, there.text
    confirmed = next(form for form in forms_of(there) if "logout" in form.action)
    last = person.http.post(confirmed.action, data=confirmed.fields)
    assert last.headers["location"] == f"{estate.plane.origin}/sign-in"
    assert estate.admin.get_sessions(account.id) == []
