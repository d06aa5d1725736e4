"""The hub's sign-in, by the letter of RFC 6749 and RFC 7636."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from broch_api.hub_login.requests import challenge_of
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.tables.projects import Membership
from broch_core.tables.workspaces import LoginCode
from broch_core.web.guard import COOKIE
from unit.runtime.runtime_fakes import TOKENS, Plane

VERIFIER = "v" * 43
CALLBACK = "http://hub.broch.localhost:8001/hub/oauth_callback"


class Browser:
    """Somebody's signed-in browser."""

    def __init__(self, plane: Plane, handle: str) -> None:
        started = plane.world.sessions.start(handle, kind="browser")
        self.client = plane.api
        self.client.cookies.set(COOKIE, started.token)
        self.plane, self.token = plane, started.token

    def query(self, **changes: Any) -> dict[str, Any]:
        asked = {
            "response_type": "code",
            "client_id": "hub",
            "redirect_uri": CALLBACK,
            "state": "opaque+/=",
            "scope": "workspace",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            "principal": self.plane.row().principal,
        } | changes
        return {name: value for name, value in asked.items() if value is not None}

    def authorize(self, **changes: Any) -> dict[str, str]:
        """Return what the redirect back to the hub carries."""
        answer = self.client.get("/oauth/authorize", params=self.query(**changes))
        assert answer.status_code == 302, answer.text
        address = answer.headers["location"]
        assert address.startswith(CALLBACK + "?")
        assert answer.headers["cache-control"] == "no-store"
        return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}

    def end(self) -> None:
        sessions = self.plane.world.sessions
        actor = sessions.actor(self.token)
        assert actor is not None
        sessions.end(actor)


@pytest.fixture
def ruth(plane: Plane) -> Browser:
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    return Browser(plane, "ruth")


def redeem(
    plane: Plane, code: str, *, auth: Any = ("hub", TOKENS.hub_oauth), headers: Any = None, **changes: Any
) -> Any:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    } | changes
    data = {name: value for name, value in form.items() if value is not None}
    return plane.inside.post("/oauth/token", data=data, auth=auth, headers=headers)


def userinfo(plane: Plane, token: str) -> Any:
    return plane.inside.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})


def test_the_challenge_is_that_of_rfc_7636_appendix_b():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    digest = hashlib.sha256(verifier.encode()).digest()
    assert base64.urlsafe_b64decode(challenge_of(verifier) + "=") == digest


@pytest.mark.parametrize("basic", [True, False])
def test_a_browser_signs_in_to_its_own_workspace(plane: Plane, ruth: Browser, basic: bool):
    back = ruth.authorize()
    assert back["state"] == "opaque+/="
    more = {} if basic else {"auth": None, "client_id": "hub", "client_secret": TOKENS.hub_oauth}
    answer = redeem(plane, back["code"], **more)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] <= 60
    told = userinfo(plane, body["access_token"])
    assert told.json() == {"sub": plane.row().principal}
    assert userinfo(plane, body["access_token"]).status_code == 401, "an access token is good for one call"
    with plane.world.store.read() as session:
        row = session.exec(select(LoginCode)).one()
        actions = session.exec(select(AuditRecord.action, AuditRecord.outcome)).all()
    assert back["code"] not in (row.code_hash, row.access_hash)
    assert {("hub:authorize", "allowed"), ("hub:token", "allowed")} <= set(actions)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=1"},
        {"redirect_uri": "http://hub.broch.localhost:8001.evil.test/hub/oauth_callback"},
        {"redirect_uri": CALLBACK.upper()},
        {"client_id": ["hub", "hub"]},
        {"redirect_uri": [CALLBACK, "http://evil.test/"]},
    ],
)
def test_nothing_is_sent_to_an_untrusted_client(ruth: Browser, changes: dict[str, Any]):
    answer = ruth.client.get("/oauth/authorize", params=ruth.query(**changes))
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"state": None}, "invalid_request"),
        ({"state": "line\nbreak"}, "invalid_request"),
        ({"state": ["a", "b"]}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "+" * 43}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"principal": None}, "invalid_request"),
        ({"principal": "w" + "q" * 25}, "access_denied"),
    ],
)
def test_authorisation_errors_go_back_to_the_hub(ruth: Browser, changes: dict[str, Any], error: str):
    back = ruth.authorize(**changes)
    assert back["error"] == error
    assert "code" not in back
    if "state" not in changes:
        assert back["state"] == "opaque+/="


def test_nobody_signs_in_to_anothers_workspace(plane: Plane, ruth: Browser):
    for handle in ("robin", "sam", "ada", "rita"):
        assert Browser(plane, handle).authorize()["error"] == "access_denied"
    assert "code" in ruth.authorize()
    with plane.world.store.read() as session:
        denied = session.exec(select(AuditRecord).where(AuditRecord.outcome == "denied")).all()
    assert {record.action for record in denied} == {"hub:authorize"}


def test_a_browser_that_is_not_signed_in_signs_in_first(plane: Plane, ruth: Browser):
    answer = plane.api.get("/oauth/authorize", params=ruth.query(), headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=%2Foauth%2Fauthorize%3F")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"code": None}, 400, "invalid_request"),
        ({"code": "another"}, 400, "invalid_grant"),
        ({"redirect_uri": None}, 400, "invalid_request"),
        ({"redirect_uri": "http://evil.test/"}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_request"),
        ({"code_verifier": "short"}, 400, "invalid_request"),
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": ["v" * 43, "v" * 43]}, 400, "invalid_request"),
        ({"auth": ("hub", "wrong")}, 401, "invalid_client"),
        ({"auth": ("hub", "")}, 401, "invalid_client"),
        ({"auth": ("other", TOKENS.hub_oauth)}, 401, "invalid_client"),
        ({"auth": None}, 401, "invalid_client"),
        ({"auth": None, "client_id": "hub", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"auth": None, "headers": {"Authorization": "Basic !!"}}, 401, "invalid_client"),
        ({"auth": None, "headers": {"Authorization": "Bearer x"}}, 401, "invalid_client"),
        ({"client_secret": TOKENS.hub_oauth}, 400, "invalid_request"),
        ({"client_id": "other"}, 400, "invalid_request"),
    ],
)
def test_token_errors(plane: Plane, ruth: Browser, changes: dict[str, Any], status: int, error: str):
    given = {"code": ruth.authorize()["code"]} | changes
    code = given.pop("code")
    answer = redeem(plane, code, **given)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "access_token" not in answer.json()
    assert answer.headers["cache-control"] == "no-store"
    if status == 401:
        by_header = bool(given.get("headers") or given.get("auth"))
        assert ("www-authenticate" in answer.headers) is by_header


def test_a_code_is_redeemed_once_and_its_replay_voids_the_token(plane: Plane, ruth: Browser):
    code = ruth.authorize()["code"]
    first = redeem(plane, code)
    replay = redeem(plane, code)
    assert (first.status_code, replay.status_code) == (200, 400)
    assert replay.json()["error"] == "invalid_grant"
    assert userinfo(plane, first.json()["access_token"]).status_code == 401


def test_of_many_that_redeem_at_once_one_wins(plane: Plane, ruth: Browser):
    code = ruth.authorize()["code"]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: redeem(plane, code).status_code, range(6)))
    assert sorted(answers) == [200, 400, 400, 400, 400, 400]


def test_a_wrong_verifier_spends_the_code(plane: Plane, ruth: Browser):
    code = ruth.authorize()["code"]
    assert redeem(plane, code, code_verifier="w" * 43).json()["error"] == "invalid_grant"
    assert redeem(plane, code).json()["error"] == "invalid_grant"


def age(plane: Plane, **values: object) -> None:
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.exec(select(LoginCode)).one()
        for name, value in values.items():
            setattr(row, name, value)
        change.session.add(row)


def test_codes_and_tokens_expire(plane: Plane, ruth: Browser):
    code = ruth.authorize()["code"]
    age(plane, expires_at=utc_now())
    assert redeem(plane, code).json()["error"] == "invalid_grant"


def test_an_access_token_that_is_too_old_tells_nothing(plane: Plane, ruth: Browser):
    token = redeem(plane, ruth.authorize()["code"]).json()["access_token"]
    age(plane, redeemed_at=utc_now() - timedelta(seconds=61))
    assert userinfo(plane, token).status_code == 401


@pytest.mark.parametrize("when", ["before the code is redeemed", "before userinfo"])
@pytest.mark.parametrize("what", ["the session ends", "the membership ends"])
def test_nothing_outlives_the_session_or_the_membership(plane: Plane, ruth: Browser, when: str, what: str):
    def end() -> None:
        if what == "the session ends":
            ruth.end()
            return
        with plane.world.store.write(housekeeping=True) as change:
            for row in change.session.exec(select(Membership)).all():
                row.until = utc_now()
                change.session.add(row)

    code = ruth.authorize()["code"]
    if when == "before the code is redeemed":
        end()
        assert redeem(plane, code).json()["error"] == "invalid_grant"
        return
    token = redeem(plane, code).json()["access_token"]
    end()
    assert userinfo(plane, token).status_code == 401


def test_the_end_of_one_session_leaves_the_codes_of_another(plane: Plane, ruth: Browser):
    other = Browser(plane, "ruth")
    mine, theirs = ruth.authorize()["code"], other.authorize()["code"]
    ruth.end()
    assert redeem(plane, mine).json()["error"] == "invalid_grant"
    assert redeem(plane, theirs).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + "x" * 500},
        {"Authorization": "Basic eDp5"},
    ],
)
def test_userinfo_wants_a_good_token(plane: Plane, ruth: Browser, header: dict[str, str]):
    answer = plane.inside.get("/oauth/userinfo", headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
