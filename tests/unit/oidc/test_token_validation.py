"""Tokens of the provider: each forgery differs from a valid token in one thing, and is refused for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from broch_api.signin.oidc.errors import TokenRefused
from broch_api.signin.oidc.tokens import (
    LOGOUT_EVENT,
    Identity,
    Logout,
    check_id_token,
    check_logout_token,
    key_id,
    usable_keys,
)
from unit.oidc.forger import (
    ACCESS,
    BEGAN,
    EXPECTED,
    KEYS,
    NONCE_HASH,
    NOW,
    REMOVED,
    STRANGER,
    Forged,
    half_hash,
    id_claims,
    logout_claims,
    public_pem,
    published,
)

AT = int(NOW.timestamp())
Change = Callable[[Forged], Forged]


def good_id() -> Forged:
    return Forged(id_claims())


def good_logout() -> Forged:
    return Forged(logout_claims()).with_header(typ="logout+jwt")


def checked(token: Forged | str, *, access: str | None = ACCESS) -> Identity:
    raw = token if isinstance(token, str) else token.text()
    return check_id_token(
        raw, published(), EXPECTED, nonce_hash=NONCE_HASH, access_token=access, began=BEGAN, now=NOW
    )


def checked_logout(token: Forged | str) -> Logout:
    raw = token if isinstance(token, str) else token.text()
    return check_logout_token(raw, published(), EXPECTED, now=NOW)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_a_token_of_the_provider_says_who_signed_in(algorithm: str) -> None:
    identity = checked(good_id().with_header(alg=algorithm, kid=algorithm))
    assert (identity.sub, identity.sid, identity.groups) == ("7f0c", "s-1", ["/broch-reviewers"])
    assert identity.methods() == {"pwd", "otp", "1"}


def test_a_token_signed_with_ed25519_says_who_signed_in() -> None:
    # Its `at_hash` is of SHA-512, so it goes without.
    assert checked(good_id().with_header(alg="EdDSA", kid="EdDSA").with_claims(at_hash=REMOVED)).sub == "7f0c"


FORGED: dict[str, Change] = {
    "no signature, as the token says": lambda t: t.with_header(alg="none"),
    "no algorithm": lambda t: t.with_header(alg=REMOVED),
    "the public key as a shared secret": lambda t: t.with_header(alg="HS256").signed_by(public_pem()),
    "a shared secret that we have": lambda t: t.with_header(alg="HS256").signed_by(OctKey.generate_key(256)),
    "an algorithm that is not ours": lambda t: t.with_header(alg="RS512"),
    "another's key by the same name": lambda t: t.signed_by(STRANGER),
    "a key that is not published": lambda t: t.with_header(kid="other"),
    "no key id": lambda t: t.with_header(kid=REMOVED),
    "a key that the token brings along": lambda t: t.with_header(
        kid="own", jwk=STRANGER.as_dict(private=False)
    ).signed_by(STRANGER),
    "a demand that nobody here knows": lambda t: t.with_header(crit=["exp2"], exp2=1),
    "a key of another kind": lambda t: t.with_header(alg="RS256", kid="PS256").signed_by(KEYS["RS256"]),
    "a type that is none": lambda t: t.with_header(typ="at+jwt"),
    "another issuer": lambda t: t.with_claims(iss="https://id.example.org/realms/other"),
    "the issuer with a slash more": lambda t: t.with_claims(iss=EXPECTED.issuer + "/"),
    "no issuer": lambda t: t.with_claims(iss=REMOVED),
    "another audience": lambda t: t.with_claims(aud="grafana"),
    "us and another audience": lambda t: t.with_claims(aud=["broch", "grafana"]),
    "no audience": lambda t: t.with_claims(aud=REMOVED),
    "an empty audience": lambda t: t.with_claims(aud=[]),
    "another party": lambda t: t.with_claims(azp="grafana"),
    "no subject": lambda t: t.with_claims(sub=REMOVED),
    "an empty subject": lambda t: t.with_claims(sub=""),
    "a subject that is a number": lambda t: t.with_claims(sub=7),
    "a subject that is too long": lambda t: t.with_claims(sub="x" * 256),
    "expired": lambda t: t.with_claims(exp=AT - 31),
    "no expiry": lambda t: t.with_claims(exp=REMOVED),
    "an expiry that is text": lambda t: t.with_claims(exp="9999999999"),
    "not valid yet": lambda t: t.with_claims(nbf=AT + 31),
    "made in the future": lambda t: t.with_claims(iat=AT + 31),
    "made before this sign-in began": lambda t: t.with_claims(iat=int(BEGAN.timestamp()) - 31),
    "no time of making": lambda t: t.with_claims(iat=REMOVED),
    "authenticated before this sign-in began": lambda t: t.with_claims(auth_time=int(BEGAN.timestamp()) - 31),
    "authenticated in the future": lambda t: t.with_claims(auth_time=AT + 31),
    "no time of authentication": lambda t: t.with_claims(auth_time=REMOVED),
    "the nonce of another sign-in": lambda t: t.with_claims(nonce="another"),
    "no nonce": lambda t: t.with_claims(nonce=REMOVED),
    "another access token": lambda t: t.with_claims(at_hash=half_hash("another")),
    "methods that are text": lambda t: t.with_claims(amr="otp"),
    "groups that are text": lambda t: t.with_claims(groups="/broch-admins"),
    "a session that is a number": lambda t: t.with_claims(sid=7),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_token_with_one_thing_wrong_proves_nothing(what: str) -> None:
    assert checked(good_id()).sub == "7f0c"
    with pytest.raises(TokenRefused):
        checked(FORGED[what](good_id()))


AT_THE_EDGE: dict[str, Change] = {
    "expired within the skew": lambda t: t.with_claims(exp=AT - 29),
    "valid soon": lambda t: t.with_claims(nbf=AT + 29),
    "made a little in the future": lambda t: t.with_claims(iat=AT + 29),
    "authenticated a little before": lambda t: t.with_claims(auth_time=int(BEGAN.timestamp()) - 29),
    "the audience in a list": lambda t: t.with_claims(aud=["broch"]),
    "no party": lambda t: t.with_claims(azp=REMOVED),
    "no session": lambda t: t.with_claims(sid=REMOVED),
    "no groups": lambda t: t.with_claims(groups=REMOVED),
    "a claim that nobody here knows": lambda t: t.with_claims(more={"x": 1}),
    "no hash of the access token": lambda t: t.with_claims(at_hash=REMOVED),
}


def test_the_hand_that_signs_what_the_library_would_not_is_believed_otherwise() -> None:
    """The twin of the forgeries that carry `crit`: their signature is good."""
    demanding = good_id().with_header(crit=["b64"], b64=True)
    assert checked(demanding).sub == "7f0c"


@pytest.mark.parametrize("what", AT_THE_EDGE)
def test_what_differs_within_its_bounds_is_believed(what: str) -> None:
    assert checked(AT_THE_EDGE[what](good_id())).sub == "7f0c"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_character_anywhere_proves_nothing(part: int) -> None:
    parts = good_id().text().split(".")
    for place in range(0, len(parts[part]) - 1, 7):  # the last one may hold bits that mean nothing
        changed = list(parts)
        was = changed[part][place]
        changed[part] = f"{parts[part][:place]}{'A' if was != 'A' else 'B'}{parts[part][place + 1 :]}"
        with pytest.raises(TokenRefused):
            checked(".".join(changed))


@pytest.mark.parametrize("raw", ["", "a", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "x" * 40_000, "{}"])
def test_what_is_no_token_is_refused_and_breaks_nothing(raw: str) -> None:
    with pytest.raises(TokenRefused):
        checked(raw)
    with pytest.raises(TokenRefused):
        key_id(raw)


def test_a_logout_token_names_what_ends() -> None:
    logout = checked_logout(good_logout())
    assert (logout.sub, logout.sid, logout.jti) == ("7f0c", "s-1", "j-1")


FORGED_LOGOUTS: dict[str, Change] = {
    "no signature": lambda t: t.with_header(alg="none"),
    "another's key": lambda t: t.signed_by(STRANGER),
    "a shared secret": lambda t: t.with_header(alg="HS256").signed_by(public_pem()),
    "another issuer": lambda t: t.with_claims(iss="https://elsewhere.example.org"),
    "another audience": lambda t: t.with_claims(aud="grafana"),
    "no event": lambda t: t.with_claims(events=REMOVED),
    "another event": lambda t: t.with_claims(events={"http://example.org/other": {}}),
    "an event that is text": lambda t: t.with_claims(events=LOGOUT_EVENT),
    "a nonce, as ID tokens have": lambda t: t.with_claims(nonce="n"),
    "no name of its own": lambda t: t.with_claims(jti=REMOVED),
    "no time of making": lambda t: t.with_claims(iat=REMOVED),
    "made long ago": lambda t: t.with_claims(iat=AT - 301),
    "made in the future": lambda t: t.with_claims(iat=AT + 31),
    "expired": lambda t: t.with_claims(exp=AT - 31),
    "neither person nor session": lambda t: t.with_claims(sub=REMOVED, sid=REMOVED),
}


@pytest.mark.parametrize("what", FORGED_LOGOUTS)
def test_a_logout_token_with_one_thing_wrong_ends_nothing(what: str) -> None:
    assert checked_logout(good_logout()).jti == "j-1"
    with pytest.raises(TokenRefused):
        checked_logout(FORGED_LOGOUTS[what](good_logout()))


@pytest.mark.parametrize("gone", ["sub", "sid", "exp"])
def test_a_logout_token_may_do_without(gone: str) -> None:
    assert checked_logout(good_logout().with_claims(**{gone: REMOVED})).jti == "j-1"


def test_an_id_token_is_no_logout_token_and_the_other_way_round() -> None:
    with pytest.raises(TokenRefused):
        checked_logout(good_id())
    with pytest.raises(TokenRefused):
        checked(good_logout())


def test_weak_and_foreign_keys_are_left_out() -> None:
    good = KEYS["ES256"].as_dict(private=False)
    bad = [
        RSAKey.generate_key(1024, {"kid": "short"}).as_dict(private=False),
        ECKey.generate_key("P-384", {"kid": "curve"}).as_dict(private=False),
        OctKey.generate_key(256, {"kid": "shared"}).as_dict(private=True),
        {**good, "kid": "enc", "use": "enc"},
        {key: value for key, value in good.items() if key != "kid"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "PQ", "kid": "unknown"},
        "no key at all",
    ]
    assert [key.kid for key in usable_keys({"keys": [*bad, good]})] == ["ES256"]
    for document in ({"keys": bad}, {"keys": []}, {"keys": "x"}, {}):
        with pytest.raises(TokenRefused):
            usable_keys(document)


def test_time_is_counted_from_when_the_sign_in_began() -> None:
    token = good_id()
    late = NOW + timedelta(seconds=85)
    with pytest.raises(TokenRefused):
        check_id_token(
            token.text(),
            published(),
            EXPECTED,
            nonce_hash=NONCE_HASH,
            access_token=ACCESS,
            began=NOW + timedelta(seconds=60),
            now=late,
        )
    assert checked(token).sub == "7f0c"
