"""Security headers on every kind of answer, of the shell and of the viewer's origin."""

from __future__ import annotations

import pytest

from support.surface import HOST, VIEWER_HOST, Answer, Surface

_SHELL = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


def _etag(surface: Surface) -> list[tuple[str, str]]:
    tag = surface.ask("GET", "/static/base.css").header("etag")
    assert tag
    return [("if-none-match", tag)]


def _answer(surface: Surface, kind: str) -> Answer:
    if kind == "304":
        return surface.ask("GET", "/static/base.css", _etag(surface))
    if kind == "500":
        return surface.page("admin", "GET", "/status?boom")
    method, target, headers = {
        "200 page": ("GET", "/sign-in", [("accept", "text/html")]),
        "200 api": ("GET", "/healthz", []),
        "200 static": ("GET", "/static/base.css", []),
        "204": ("OPTIONS", "/api/v1/airlock/uploads", []),
        "303": ("GET", "/projects", [("accept", "text/html")]),
        "307": ("GET", "/", [("accept", "text/html"), ("host", "localhost:8000")]),
        "400": ("GET", "/oauth/authorize", []),
        "401": ("GET", "/api/v1/projects", []),
        "403": ("POST", "/theme", []),
        "404 page": ("GET", "/nowhere", [("accept", "text/html")]),
        "404 airlock": ("GET", "/airlock/nowhere", []),
        "404 static": ("GET", "/static/nothing.css", []),
        "405 static": ("POST", "/static/base.css", []),
        "405": ("PUT", "/healthz", []),
        "413": ("POST", "/api/v1/sessions", [("content-length", str(1 << 30))]),
        "414": ("GET", "/sign-in?next=" + "a" * 9000, []),
        "421": ("GET", "/", [("host", "evil.example")]),
        "422": ("POST", "/api/v1/sessions", [("content-type", "application/json")]),
    }[kind]
    if kind == "400":
        return surface.page("author", "GET", "/oauth/authorize")
    return surface.ask(method, target, headers)


@pytest.mark.parametrize(
    "kind",
    [
        *("200 page", "200 api", "200 static", "204", "303", "304", "307", "400", "401", "403", "404 page"),
        *("404 airlock", "404 static", "405 static", "405", "413", "414", "421", "422", "500"),
    ],
)
def test_every_answer_of_the_shell_carries_the_security_headers(
    surface: Surface, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "500":
        monkeypatch.setattr("broch_api.status.service.StatusDesk.overview", None)
    answer = _answer(surface, kind)
    assert answer.status == int(kind[:3]), answer.text
    assert {name: answer.header(name) for name in _SHELL} == _SHELL
    policy = answer.header("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "camera=()" in (answer.header("permissions-policy") or "")
    assert len(answer.header("x-request-id") or "") == 26
    assert answer.header("access-control-allow-origin") is None
    assert answer.header("server") is None
    names = [name for name, _ in answer.headers if name != "set-cookie"]
    assert len(names) == len(
        set(names)
    )  # a header that comes twice is read differently by different browsers


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/", b"", 404),
        ("GET", "/view", b"", 405),
        ("POST", "/view", b"ticket=" + b"A" * 43, 410),
        ("POST", "/view", b"\xff\xfe", 422),
        ("POST", "/view", b"ticket=" + b"A" * 5000, 413),
        ("POST", "/view", b"ticket=" + b"A" * (1 << 20), 413),
    ],
)
def test_every_answer_of_the_viewer_is_inert(
    surface: Surface, method: str, target: str, body: bytes, status: int
) -> None:
    form = [("content-type", "application/x-www-form-urlencoded"), ("content-length", str(len(body)))]
    answer = surface.ask(method, target, form, body, host=VIEWER_HOST)
    assert answer.status == status, answer.text
    policy = answer.header("content-security-policy") or ""
    assert "sandbox" in policy or "default-src 'none'" in policy
    assert "script-src 'self'" not in policy or status == 413
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("set-cookie") is None


def test_pages_of_people_are_not_kept_by_caches(surface: Surface) -> None:
    for target in ("/", "/projects", "/airlock", "/workspaces"):
        answer = surface.page("author", "GET", target)
        assert (answer.status, answer.header("cache-control")) == (200, "no-store"), target


def test_no_host_but_ours_is_served(surface: Surface) -> None:
    for host in (
        "",
        "evil.example",
        f"{HOST}.evil.example",
        "broch.localhost",
        "broch.localhost:80",
        "hub." + HOST,
    ):
        assert surface.ask("GET", "/healthz", [("host", host)]).status == 421, host
    assert surface.ask("GET", "/healthz", [("host", HOST.upper())]).status == 200
