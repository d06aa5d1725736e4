"""What a real Keycloak and we refuse: a factor too few, answers that come twice, or to another browser."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from keycloak import KeycloakAuthenticationError, KeycloakOpenID, KeycloakPostError

from broch.keycloak.desired import FLOW
from support.oidc import SAME, forms_of, query_of

SECRET = "a secret between Broch and Keycloak"


def test_an_answer_that_comes_twice_signs_nobody_in(estate):
    person = estate.person()
    back = person.provider_says(person.leave(), estate.account())
    assert person.come_back(back).status_code == 303
    assert person.signed_in()
    again = person.come_back(back)
    assert again.status_code == 410
    assert "works once" in again.text
    assert "sign in again" in again.text


def test_an_answer_that_comes_to_another_browser_signs_nobody_in_and_is_not_used_up(estate):
    person, thief = estate.person(), estate.person()
    back = person.provider_says(person.leave(), estate.account())
    assert thief.come_back(back).status_code == 410
    thief.leave()
    assert thief.come_back(back).status_code == 410
    assert not thief.signed_in()
    assert person.come_back(back).status_code == 303


def test_a_code_of_one_sign_in_is_worth_nothing_in_another(estate):
    """Code injection: PKCE binds the code to the attempt that it was given for."""
    victim, attacker = estate.person(), estate.person()
    stolen = query_of(victim.provider_says(victim.leave(), estate.account()))["code"]
    mine = query_of(attacker.leave())
    given = {"state": mine["state"], "code": stolen, "iss": estate.provider.issuer()}
    answer = attacker.come_back(f"{estate.plane.origin}/sign-in/callback?{urlencode(given)}")
    assert answer.status_code == 403, answer.text
    assert "invalid_grant" in answer.text
    assert not attacker.signed_in()


def test_an_answer_in_the_name_of_another_provider_is_refused(estate):
    """The mix-up of RFC 9207."""
    person = estate.person()
    back = person.provider_says(person.leave(), estate.account())
    given = query_of(back)
    assert given["iss"] == estate.provider.issuer()
    forged = {**given, "iss": "https://evil.test/realms/broch"}
    answer = person.come_back(f"{estate.plane.origin}/sign-in/callback?{urlencode(forged)}")
    assert answer.status_code == 403
    assert not person.signed_in()


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x&code=y", "?error=access_denied"])
def test_an_answer_that_nobody_waits_for_says_how_to_go_on(estate, query):
    answer = estate.person().come_back(f"{estate.plane.origin}/sign-in/callback{query}")
    assert answer.status_code == 410
    assert "sign in again" in answer.text


def test_what_the_provider_refuses_is_said_in_words(estate):
    person = estate.person()
    given = {"state": query_of(person.leave())["state"], "error": "access_denied"}
    answer = person.come_back(f"{estate.plane.origin}/sign-in/callback?{urlencode(given)}")
    assert answer.status_code == 403
    assert "access_denied" in answer.text


def test_an_error_that_is_no_code_is_not_repeated(estate):
    person = estate.person()
    given = {"state": query_of(person.leave())["state"], "error": "Call 0800 <b>now</b>"}
    answer = person.come_back(f"{estate.plane.origin}/sign-in/callback?{urlencode(given)}")
    assert answer.status_code == 403
    assert "0800" not in answer.text


def test_one_factor_is_not_enough_whatever_the_realm_asks_for(estate):
    account = estate.account("broch-admins", otp=False)
    person = estate.person()
    estate.admin.update_realm("broch", {"browserFlow": "browser"})
    try:
        answer = person.sign_in(account)
    finally:
        estate.admin.update_realm("broch", {"browserFlow": FLOW})
    assert answer.status_code == 403, answer.text
    assert "second factor" in answer.text
    assert not person.signed_in()


def test_who_has_no_second_factor_sets_one_up_and_comes_in_with_it(estate):
    account = estate.account(otp=False)
    person = estate.person()
    page = person.provider_asks(person.leave(), account)
    form = next(form for form in forms_of(page) if "totpSecret" in form.fields)
    with_code = account.with_otp(form.fields["totpSecret"])
    back = person.submit(page, {"totp": with_code.code(), "userLabel": "phone"}).headers["location"]
    first = person.come_back(back)
    # Setting it up is not using it: the token says of one factor.
    assert first.status_code in {303, 403}
    assert person.sign_in(with_code, code=with_code.code_of_the_next()).status_code == 303
    assert person.signed_in()


def test_a_wrong_code_does_not_come_back(estate):
    account = estate.account()
    person = estate.person()
    page = person.provider_asks(person.leave(), account)
    assert person.submit(page, {"otp": "000000"}).status_code == 200
    assert not person.signed_in()


def test_each_sign_in_asks_for_both_factors_again(estate):
    account = estate.account()
    person = estate.person()
    person.sign_in(account)
    page = person.http.get(person.leave())
    assert page.status_code == 200
    assert 'name="password"' in page.text


def test_another_site_begins_no_sign_in(estate):
    person = estate.person()
    answer = person.http.post(
        f"{estate.plane.origin}/sign-in", data={"next": "/"}, headers={**SAME, "Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert "__Host-broch-attempt" not in person.http.cookies


def test_the_demo_does_not_answer_where_a_provider_is_set(estate):
    answer = estate.person().http.post(f"{estate.plane.origin}/api/v1/sessions", json={"handle": "ruth"})
    assert answer.status_code >= 400
    assert "token" not in answer.json()


def test_the_provider_gives_our_client_nothing_but_the_code_flow_with_pkce(estate):
    person = estate.person()
    address = person.leave()
    assert person.http.get(address).status_code == 200
    bare = "&".join(
        part
        for part in address.split("&")
        if not part.startswith(("code_challenge", "code_challenge_method"))
    )
    refused = person.http.get(bare)
    assert query_of(refused.headers["location"])["error"] == "invalid_request"
    elsewhere = address.replace("%2Fsign-in%2Fcallback", "%2Fsign-in%2Fcallback%2F..%2Fother")
    assert elsewhere != address
    assert person.http.get(elsewhere).status_code == 400
    account = estate.account()
    client = KeycloakOpenID(
        estate.provider.origin, "broch", "broch", SECRET, verify=str(estate.provider.authority)
    )
    with pytest.raises((KeycloakAuthenticationError, KeycloakPostError)):
        client.token(account.username, account.password, totp=account.code())
    with pytest.raises((KeycloakAuthenticationError, KeycloakPostError)):
        client.token(grant_type="client_credentials")
