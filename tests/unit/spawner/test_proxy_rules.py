"""Routes, headers, the way to the hub: pure decisions."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_spawner import headers
from broch_spawner.login import principal_asked_for
from broch_spawner.routing import (
    FOREIGN_TEXT,
    HUB_FOLDERS,
    HUB_PATHS,
    OUTSIDE_TEXT,
    Forward,
    Redirect,
    Refusal,
    Route,
    decide,
)
from broch_workspaces.hub_calls import allowed
from support.counts import count

ME = "w" + "a" * 24
HUB = "hub.broch.localhost"
HOST = f"{ME}.{HUB}"
SHELL = "http://broch.localhost:8000"
ROUTES = {
    "/": Route("/", "http+unix://hub", is_hub=True),
    f"{HOST}/user/{ME}/": Route(f"{HOST}/user/{ME}/", "http+unix://lab", is_hub=False),
}


def go(host, path, method="GET", **known):
    found = {key.replace("_", "-"): value for key, value in known.items()}
    return decide(host, path, found, ROUTES, hub_host=HUB, method=method)


def test_a_workspace_gets_its_own_host():
    assert go(f"{HOST}:8001", f"/user/{ME}/lab") == Forward("http+unix://lab", is_hub=False)
    assert go(HOST.upper(), f"/user/{ME}") == Forward("http+unix://lab", is_hub=False)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost", "127.0.0.1:8001", f"x.{HOST}", f".{HUB}", f"evil{HUB}", f"{HUB}."],
)
def test_an_unknown_host_gets_421(host):
    answer = go(host, f"/user/{ME}/lab")
    assert isinstance(answer, Refusal)
    assert answer.status == 421


@pytest.mark.parametrize(
    "path", ["/", "/hub/login", "/hub/api/users", f"/user/{'w' + 'b' * 24}/lab", "/user"]
)
def test_a_workspace_host_never_falls_through_to_the_hub(path):
    answer = go(HOST, path)
    assert isinstance(answer, Refusal)
    assert answer.status == 404


def test_a_workspace_that_does_not_run_says_so():
    other = "w" + "b" * 24
    answer = go(f"{other}.{HUB}", f"/user/{other}/lab")
    assert isinstance(answer, Refusal)
    assert answer.status == 503


def test_the_hub_shows_only_what_signing_in_needs():
    for path in (
        "/hub/login",
        "/hub/oauth_callback",
        "/hub/api/oauth2/authorize",
        "/hub/static/css/style.css",
    ):
        assert go(HUB, path) == Forward("http+unix://hub", is_hub=True)
    for path in (
        "/hub/token",
        "/hub/home",
        "/hub/spawn",
        "/hub/api/users",
        "/hub/static/../token",
        "/hub/static/%2e%2e/token",
    ):
        assert isinstance(go(HUB, path), Refusal), path


def test_the_end_of_a_sign_in_leads_to_the_workspaces_own_host():
    for path in (f"/hub/user/{ME}/lab", f"/user/{ME}/lab"):
        assert go(HUB, path) == Redirect(HOST, f"/user/{ME}/lab")
    for path in (
        f"/hub/user/{'w' + 'b' * 24}/lab",
        f"/hub/user/{ME}.evil/lab",
        "/user/",
        f"/user/{ME}/%2e%2e",
    ):
        assert isinstance(go(HUB, path), Refusal), path


def test_service_workers_are_refused():
    for known in ({"service_worker": "script"}, {"sec_fetch_dest": "serviceworker"}):
        answer = go(HOST, f"/user/{ME}/sw.js", **known)
        assert isinstance(answer, Refusal)
        assert answer.status == 403


FRAME = {"sec_fetch_dest": "iframe", "sec_fetch_mode": "navigate", "sec_fetch_site": "same-site"}
OWN = {"sec_fetch_dest": "empty", "sec_fetch_mode": "cors", "sec_fetch_site": "same-origin"}


@pytest.mark.parametrize(
    "known",
    [
        FRAME,
        OWN,
        OWN | {"sec_fetch_dest": "image", "sec_fetch_mode": "no-cors"},
        {"accept": "*/*"},
        FRAME | {"sec_fetch_site": "same-origin"},
        FRAME | {"sec_fetch_site": "none"},
    ],
)
def test_the_frame_and_its_own_page_are_served(known):
    assert isinstance(go(HOST, f"/user/{ME}/lab", **known), Forward)


@pytest.mark.parametrize(
    "known",
    [
        FRAME | {"sec_fetch_dest": "document"},
        FRAME | {"sec_fetch_dest": "document", "sec_fetch_site": "none"},
        FRAME | {"sec_fetch_dest": "object"},
        FRAME | {"sec_fetch_dest": "embed", "sec_fetch_site": "same-origin"},
        {"accept": "text/html,application/xhtml+xml"},
    ],
)
def test_a_workspace_is_not_shown_outside_its_frame(known):
    answer = go(HOST, f"/user/{ME}/lab", **known)
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.text) == (403, OUTSIDE_TEXT)


@pytest.mark.parametrize("host", [HOST, HUB])
@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_the_page_of_another_host_may_only_open_a_frame(host, site):
    path = f"/user/{ME}/lab" if host == HOST else "/hub/login"
    known = OWN | {"sec_fetch_site": site}
    for bad in (known, known | {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}):
        answer = go(host, path, **bad)
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.text) == (403, FOREIGN_TEXT)
    assert isinstance(go(host, path, **FRAME | {"sec_fetch_site": site}), Forward)
    assert isinstance(go(host, path, method="POST", **FRAME | {"sec_fetch_site": site}), Refusal)
    assert isinstance(go(host, path, method="POST", **OWN), Forward)


SPELLINGS = [
    "files/x",
    "%66iles/x",
    "%2566iles/x",
    "lab/../files/x",
    "/files/x",
    "//files/x",
    "files",
    "FILES/x",
    "nbconvert/html/a",
    "lab/%2e%2e/files/x",
    "lab\\..\\files/x",
]


def test_the_document_names_all_that_a_browser_reaches_of_the_hub():
    text = (Path(__file__).parents[3] / "docs" / "workspaces.md").read_text()
    told = re.search(r"Of the hub a browser reaches\s(.*?);", text, re.DOTALL)
    assert set(re.findall(r"`(.*?)`", told[1])) == {*HUB_PATHS, *HUB_FOLDERS}


@pytest.mark.parametrize("path", SPELLINGS)
def test_downloads_point_to_the_airlock_however_they_are_spelt(path):
    answer = go(HOST, f"/user/{ME}/{path}")
    assert isinstance(answer, Refusal)
    assert answer.status == 403
    assert "airlock submit" in answer.text


@pytest.mark.parametrize("path", ["files/x#/../../lab", "lab#", "#", "#/../files/x", "files%2fx#"])
def test_what_is_judged_is_what_is_sent_on(path):
    answer = go(HOST, f"/user/{ME}/{path}")
    assert isinstance(answer, Refusal)
    assert answer.status == 400
    assert isinstance(go(HOST, f"/user/{ME}/api/contents/a%23b"), Forward)


@given(path=st.text(st.sampled_from("/%2efilesnbcovrt.\\hub"), max_size=30))
@settings(
    max_examples=count("no path of a workspace host reaches the hub", ci=300, nightly=30000), deadline=None
)
def test_no_path_of_a_workspace_host_reaches_the_hub(path):
    answer = go(HOST, "/" + path)
    assert not (isinstance(answer, Forward) and answer.is_hub)


def from_workspace(*received):
    shown = headers.from_workspace(received, host=f"{HOST}:8001", shell=SHELL, hub=f"http://{HUB}:8001")
    return None if shown is None else [name.lower() for name, _ in shown], dict(shown or [])


def test_a_workspace_has_no_say_in_its_policy():
    names, shown = from_workspace(
        ("Content-Type", "text/html"), ("Content-Security-Policy", "default-src *"), ("Refresh", "0;url=http://evil"),
        ("Link", "<http://evil>; rel=preload"), ("Report-To", "{}"), ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=1; domain=broch.localhost"), ("Access-Control-Allow-Origin", "*"),
    )  # fmt: skip
    assert shown["Content-Type"] == "text/html"
    assert names.count("content-security-policy") == 1
    assert shown["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self'")
    assert not {"refresh", "link", "report-to", "access-control-allow-origin"} & set(names)


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ("_xsrf=2|a|b; Path=/user/x/", "__Host-w-_xsrf=2|a|b; Path=/; Secure"),
        ("__Host-hub=1; HttpOnly; Path=/; Secure", "__Host-hub=1; HttpOnly; Path=/; Secure"),
        ("a=1; DOMAIN=broch.localhost; Max-Age=9", "__Host-w-a=1; Max-Age=9; Path=/; Secure"),
        ("b=1; domain =broch.localhost; samesite=Lax", "__Host-w-b=1; samesite=Lax; Path=/; Secure"),
    ],
)
def test_every_cookie_is_of_its_host_alone(made, kept):
    assert headers.cookie_to_browser(made) == kept
    assert headers.from_hub([("Set-Cookie", made)], shell=SHELL)[0][1] == kept
    assert from_workspace(("Set-Cookie", made))[1]["Set-Cookie"] == kept
    pair, mine = kept.split(";")[0], made.split(";")[0]
    assert headers.cookies_to_upstream(f"evil=1; {pair}; _xsrf=tossed; __host-x=1; __Host-") == mine


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "https:evil",
        f"http://{HOST}.evil/",
        " //evil",
        "/\t/evil",
        f"http://{HUB}:8001@evil/",
        f"https://{HOST}:8001/",
        "javascript:1",
    ],
)
def test_a_redirect_that_leaves_is_refused(url):
    assert (
        headers.from_workspace(
            [("Location", url)], host=f"{HOST}:8001", shell=SHELL, hub=f"http://{HUB}:8001"
        )
        is None
    )


@pytest.mark.parametrize(
    "url",
    ["/user/x/lab", "lab", f"http://{HOST}:8001/user", f"http://{HUB}:8001/hub/api/oauth2/authorize?x=1"],
)
def test_a_redirect_to_itself_or_the_hub_passes(url):
    assert from_workspace(("Location", url))[1]["Location"] == url


def test_forwarding_facts_are_our_own():
    sent = list(headers.to_upstream(
        [("Cookie", "__Host-a=1"), ("X-Forwarded-Host", "evil"), ("Connection", "x-secret"), ("X-Secret", "1"), ("Forwarded", "for=1"),
         ("X-Real-IP", "192.0.2.1"), ("X-Scheme", "https")],
        remote="127.0.0.1", host=HOST,
    ))  # fmt: skip
    assert sent == [
        ("Cookie", "__Host-a=1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", HOST),
    ]


@pytest.mark.parametrize(
    ("site", "sent"), [("same-origin", "mine"), ("same-site", "tossed"), (None, "tossed")]
)
def test_a_cookie_that_another_host_has_set_does_not_keep_lab_from_its_server(site, sent):
    received = [("Cookie", "_xsrf=tossed; __Host-w-_xsrf=mine"), ("X-XSRFToken", "tossed")]
    received += [("Sec-Fetch-Site", site)] if site else []
    shown = dict(headers.to_upstream(received, remote="127.0.0.1", host=HOST))
    assert shown["Cookie"] == "_xsrf=mine"
    assert shown["X-XSRFToken"] == sent


def test_a_workspace_may_make_four_calls_to_the_hub():
    for method, path in (
        ("GET", "/hub/api"),
        ("GET", "/hub/api/user"),
        ("POST", "/hub/api/oauth2/token"),
        ("POST", f"/hub/api/users/{ME}/activity"),
    ):
        assert allowed(method, path, ME)
    for method, path in (
        ("GET", "/hub/api/users"),
        ("GET", "/hub/login"),
        ("POST", f"/hub/api/users/w{'b' * 24}/activity"),
        ("DELETE", "/hub/api/user"),
        ("GET", "/hub/api/user?x"),
        ("POST", f"/hub/api/users/{ME}/server"),
        ("POST", f"/hub/api/users/{ME}/tokens"),
        ("GET", "/hub/api/../home"),
        ("POST", "/hub/api/shutdown"),
    ):
        assert not allowed(method, path, ME), path


def test_the_principal_asked_for_is_only_ever_a_principal():
    assert principal_asked_for(f"/hub/user/{ME}/lab") == ME
    assert principal_asked_for(f"/user/{ME}") == ME
    assert principal_asked_for(f"/hub/api/oauth2/authorize?client_id=jupyterhub-user-{ME}&x=1") == ME
    for other in ("", "/hub/home", "/user/admin/lab", "/user/../x", f"/hub/user/{ME}x!/lab"):
        assert principal_asked_for(other) is None
