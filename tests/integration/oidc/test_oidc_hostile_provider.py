"""A provider that is away, slow, or says what it must not: over real TLS, from a server that obeys the test."""

from __future__ import annotations

import threading
import time

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from broch_api.signin.oidc.errors import ProviderAway, ProviderRefused, TokenRefused
from broch_api.signin.oidc.provider import RETRY_SECONDS, OidcProvider
from broch_api.signin.oidc.settings import OidcSettings
from support.hostile_provider import KEY

NEXT_KEY = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})


def token(kid: str = "one") -> str:
    return jwt.encode({"alg": "RS256", "kid": kid}, {"sub": "x"}, KEY if kid == "one" else NEXT_KEY)


def test_what_a_provider_says_is_kept_and_not_asked_again(hostile, us):
    for _ in range(5):
        assert us.metadata().issuer == hostile.issuer
        assert [key.kid for key in us.keys(token())] == ["one"]
    assert hostile.asked == ["/realm/.well-known/openid-configuration", "/realm/keys"]


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://elsewhere.test/realm"},
        {"token_endpoint": "http://plain.test/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "file:///etc/passwd"},
        {"end_session_endpoint": "http://plain.test"},
        {"token_endpoint": None},
    ],
)
def test_a_description_that_is_not_as_it_must_is_none(hostile, us, changed):
    hostile.say("/realm/.well-known/openid-configuration", hostile.description(**changed))
    with pytest.raises(ProviderAway):
        us.metadata()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"[]"),
        (200, {}, b"<html>"),
        (200, {}, b"\xff\xfe"),
        (200, {}, b'"' + b"x" * (300 << 10) + b'"'),
        (500, {}, b"{}"),
        (302, {"Location": "https://elsewhere.test/"}, b"{}"),
        (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    ],
)
def test_an_answer_that_is_none_keeps_people_out_and_breaks_nothing(hostile, us, answer):
    hostile.answers["/realm/.well-known/openid-configuration"] = answer
    with pytest.raises(ProviderAway):
        us.metadata()
    assert len(hostile.asked) == 1


def test_a_provider_that_is_away_is_not_asked_by_everybody(hostile, us):
    hostile.say("/realm/.well-known/openid-configuration", {}, 503)
    for _ in range(20):
        with pytest.raises(ProviderAway):
            us.metadata()
    assert len(hostile.asked) == 1
    assert us.address_of_sign_out() is None


def test_another_certificate_is_not_believed(hostile, us, tmp_path):
    from support.cluster.authority import Authority

    other = Authority("another").write(tmp_path / "ca.crt")
    settings = OidcSettings(hostile.issuer, "broch", "s", "https://tre.test", frozenset({"otp"}), other)
    with pytest.raises(ProviderAway):
        OidcProvider(settings).metadata()
    assert hostile.asked == []
    assert us.metadata().issuer == hostile.issuer


def test_a_new_key_is_fetched_when_a_token_names_it_and_forged_names_fetch_little(hostile, us):
    assert [key.kid for key in us.keys(token())] == ["one"]
    hostile.keys(KEY, NEXT_KEY)
    for _ in range(50):
        us.keys(jwt.encode({"alg": "RS256", "kid": "forged"}, {}, NEXT_KEY))
    assert hostile.asked.count("/realm/keys") == 1  # looked a moment ago
    time.sleep(RETRY_SECONDS)
    assert {key.kid for key in us.keys(token("two"))} == {"one", "two"}
    assert hostile.asked.count("/realm/keys") == 2


def test_keys_outlive_a_provider_that_is_away_for_a_while(hostile, us):
    us.keys(token())
    hostile.say("/realm/keys", {"keys": []})
    time.sleep(RETRY_SECONDS)
    assert [key.kid for key in us.keys(token("two"))] == ["one"]


def test_a_token_that_names_no_key_asks_nobody(hostile, us):
    for raw in ("x", token().replace("eyJ", "e30", 1), "e30.e30.e30"):
        with pytest.raises(TokenRefused):
            us.keys(raw)
    assert hostile.asked == []


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (400, {"error": "invalid_grant"}, ProviderRefused),
        (401, {"error": "unauthorized_client"}, ProviderRefused),
        (500, {"error": "server_error"}, ProviderAway),
        (200, {"access_token": "a"}, ProviderAway),
        (200, {"id_token": 7}, ProviderAway),
        (302, {}, ProviderAway),
    ],
)
def test_a_code_that_is_not_redeemed_is_worth_nothing(hostile, us, status, document, error):
    hostile.say("/realm/token", document, status)
    with pytest.raises(error):
        us.redeem("code", "verifier")


def test_a_code_is_redeemed_once_and_by_us(hostile, us):
    hostile.say("/realm/token", {"id_token": "t", "access_token": "a"})
    assert us.redeem("code", "verifier").id_token == "t"
    assert "t" not in repr(us.redeem("code", "verifier")).split("(")[1].replace("Tokens", "")


def test_a_provider_that_hangs_does_not_hold_every_thread(hostile, us):
    us.metadata()
    hostile.say("/realm/token", {"id_token": "t"})
    hostile.slow = 4.0
    waits: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        try:
            us.redeem("code", "verifier")
        except ProviderAway:
            waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) >= 30 - 8
    assert sorted(waits)[len(waits) // 2] < 3.0
