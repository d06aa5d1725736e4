"""Bad input is refused by a 4xx that fits, and nothing is changed by it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from broch_core.ids import new_id
from broch_core.web.guard import COOKIE
from support.surface import HOST, Answer, Surface
from support.surface_world import view_ticket

JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")
TUS = [("tus-resumable", "1.0.0")]


@pytest.fixture(autouse=True)
def nothing_changes(surface: Surface) -> Iterator[None]:
    """Compare every table and every byte kept, before and after."""
    before, kept = surface.digest(), surface.bytes_kept()
    yield
    after = surface.digest()
    assert [name for name in after if after[name] != before[name]] == []
    assert surface.bytes_kept() == kept


def _bearer(surface: Surface, who: str) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {surface.visitors[who].bearer}")]


def _raw(
    surface: Surface, who: str, method: str, target: str, body: bytes, *headers: tuple[str, str]
) -> Answer:
    length = ("content-length", str(len(body)))
    return surface.ask(method, target, [*_bearer(surface, who), *headers, length], body)


NAMES = {
    "traversal": "../../etc/passwd",
    "hidden traversal": "a/../../b",
    "back": "..",
    "here": ".",
    "empty": "",
    "backslash": "..\\..\\boot.ini",
    "NUL": "table\0.csv",
    "newline": "table\n.csv",
    "bidi": "table\u202evsc.exe",
    "zero width joiner at the end": "table.csv\u2066",
    "too long": "a" * 300,
    "device": "CON",
    "ends in a dot": "table.csv.",
    "begins with a dash": "-rf",
    "lone surrogate": "table\ud800.csv",
}


@pytest.mark.parametrize("kind", NAMES)
def test_unfit_names_are_refused_wherever_they_come(surface: Surface, kind: str) -> None:
    name = NAMES[kind]
    encoded = base64.b64encode(name.encode("utf-8", "surrogatepass")).decode()
    draft = surface.things["ingress"]["draft"]["request_id"]
    begin = [*TUS, ("upload-length", "4"), ("upload-metadata", f"filename {encoded}")]
    answer = surface.ask(
        "POST", f"/api/v1/airlock/requests/{draft}/uploads", [*_bearer(surface, "author"), *begin]
    )
    assert answer.status == 422, answer.text
    quoted = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))
    for who, target in (
        ("author", f"/api/v1/airlock/requests/{draft}/files/{quoted}"),
        (
            "steward",
            f"/api/v1/dataset-versions/{surface.things['version']['open']['version_id']}/files/{quoted}",
        ),
    ):
        if who == "steward" and kind in {"device", "ends in a dot", "begins with a dash"}:
            continue  # they are unfit for crossing to somebody's machine, not for a dataset
        put = _raw(surface, who, "PUT", target, b"1234", ("content-type", "application/octet-stream"))
        assert put.status in {404, 405, 422}, (who, put.text)


def test_a_name_is_kept_in_one_normal_form_or_refused(surface: Surface) -> None:
    """Two names that look alike may not be two files: composed and decomposed letters."""
    draft = surface.things["ingress"]["draft"]["request_id"]
    octets = ("content-type", "application/octet-stream")
    answer = _raw(
        surface, "author", "PUT", f"/api/v1/airlock/requests/{draft}/files/re%CC%81sume.csv", b"1", octets
    )
    if answer.status < 400:
        assert answer.json()["name"] == "r\u00e9sume.csv"
        surface.put_back()
    else:
        assert answer.status == 422


BODIES: dict[str, tuple[bytes, set[int]]] = {
    "nothing": (b"", {422}),
    "no JSON": (b"{", {422}),
    "another type": (b'"text"', {422}),
    "a list": (b"[]", {422}),
    "null": (b"null", {422}),
    "not UTF-8": (b'{"slug": "\xff\xfe"}', {400, 422}),
    "UTF-16": ('{"slug": "x"}'.encode("utf-16"), {400, 422}),
    "deep nesting": (b"[" * 200_000, {400, 422}),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {400, 422}),
    "huge number": (b'{"slug": ' + b"9" * 500_000 + b"}", {400, 422}),
    "infinity": (b'{"slug": 1e999999}', {422}),
    "NaN": (b'{"slug": NaN}', {422}),
    "unknown field": (b'{"handle": "newcomer", "display_name": "N", "is_admin": true}', {422}),
    "NUL": (b'{"handle": "newcomer", "display_name": "N\\u0000"}', {422}),
    "bidi": (b'{"handle": "newcomer", "display_name": "N\\u202e"}', {422}),
    "lone surrogate": (b'{"handle": "newcomer", "display_name": "N\\ud800"}', {422}),
    "too long": (b'{"handle": "newcomer", "display_name": "' + b"N" * 121 + b'"}', {422}),
    "two megabytes": (b'{"handle": "' + b"n" * (2 << 20) + b'"}', {413}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_unfit_json_is_refused(surface: Surface, kind: str) -> None:
    body, wanted = BODIES[kind]
    answer = _raw(surface, "admin", "POST", "/api/v1/people", body, JSON)
    assert answer.status in wanted, answer.text[:500]
    assert answer.header("content-type") == "application/problem+json"
    assert len(answer.body) < 20_000  # the error does not send the body back


@pytest.mark.parametrize("type_", ["text/plain", "application/xml", "multipart/form-data; boundary=x", None])
def test_json_of_another_type_is_not_read(surface: Surface, type_: str | None) -> None:
    """A form of another site can send these without asking first."""
    body = json.dumps({"handle": "newcomer", "display_name": "N"}).encode()
    headers = [("content-type", type_)] if type_ else []
    assert _raw(surface, "admin", "POST", "/api/v1/people", body, *headers).status == 422


def test_a_hundred_thousand_confirmed_files_are_too_many(surface: Surface) -> None:
    thing = surface.things["ingress"]["draft"]
    one = {"file_id": thing["file_id"], "sha256": thing["sha256"]}
    target = f"/api/v1/airlock/requests/{thing['request_id']}/submit"
    many = json.dumps({"purpose": "Table 2", "files": [one] * 100_000}).encode()
    assert _raw(surface, "author", "POST", target, many, JSON).status == 413
    some = json.dumps({"purpose": "Table 2", "files": [one] * 5000}).encode()
    assert _raw(surface, "author", "POST", target, some, JSON).status == 422
    form = b"purpose=x&looked=yes" + b"&seen=a" * 100_000
    page = _page_post(surface, f"/airlock/requests/{thing['request_id']}/submit", form)
    assert page.status in {400, 413, 422}


def _page_post(surface: Surface, target: str, form: bytes, **changed: str | None) -> Answer:
    author = surface.visitors["author"]
    headers = {
        "cookie": f"{COOKIE}={author.cookie}",
        "sec-fetch-site": "same-origin",
        "x-csrf-token": author.csrf,
        "accept": "text/html",
        "content-type": FORM[1],
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    given = [(name, value) for name, value in headers.items() if value is not None]
    return surface.ask("POST", target, [*given, ("content-length", str(len(form)))], form)


@pytest.mark.parametrize(
    "changed",
    [
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": None},
        {"sec_fetch_site": None, "origin": "null"},
        {"sec_fetch_site": None, "origin": "http://evil.example"},
        {"sec_fetch_site": None, "origin": f"https://{HOST}"},
        {"sec_fetch_site": None, "origin": f"http://{HOST}.evil.example"},
        {"sec_fetch_site": "cross-site", "origin": f"http://{HOST}"},
        {"x_csrf_token": None},
        {"x_csrf_token": ""},
        {"x_csrf_token": "0" * 64},
        {"x_csrf_token": "\xe9"},
    ],
)
def test_another_site_cannot_act_in_ones_name(surface: Surface, changed: dict[str, str | None]) -> None:
    request_id = surface.things["request"]["draft"]["request_id"]
    for target in (
        f"/airlock/requests/{request_id}/withdraw",
        f"/api/v1/airlock/requests/{request_id}/withdraw",
    ):
        answer = _page_post(surface, target, b"", **changed)
        assert answer.status == 403, (target, answer.status)


def test_the_csrf_token_of_another_session_does_not_fit(surface: Surface) -> None:
    request_id = surface.things["request"]["draft"]["request_id"]
    target = f"/airlock/requests/{request_id}/withdraw"
    other = surface.visitors["member"]
    assert _page_post(surface, target, b"", x_csrf_token=other.csrf).status == 403
    assert _page_post(surface, target, b"", cookie=f"{COOKIE}={other.cookie}").status == 403
    assert _page_post(surface, target, b"", cookie=f"broch={other.cookie}").status in {
        303,
        401,
    }  # no such cookie
    assert _page_post(surface, target, b"").status == 303  # the twin: all in order
    surface.put_back()


def test_methods_and_parameters_cannot_be_disguised(surface: Surface) -> None:
    thing = surface.things["request"]["draft"]
    target = f"/api/v1/airlock/requests/{thing['request_id']}"
    override = ("x-http-method-override", "DELETE")
    assert (
        _raw(
            surface, "author", "POST", f"{target}/files/{thing['file_id']}?_method=DELETE", b"", override
        ).status
        == 405
    )
    assert _raw(surface, "author", "GET", f"{target}/withdraw", b"").status == 405
    assert _raw(surface, "author", "HEAD", f"{target}/withdraw", b"").status == 405
    assert _raw(surface, "author", "TRACE", target, b"").status == 405
    assert _raw(surface, "author", "OPTIONS", target, b"").status == 405
    twice = f"/api/v1/airlock/requests?limit=1&limit=999999&project_id={new_id()}&project_id={thing['project_id']}"
    assert _raw(surface, "author", "GET", twice, b"").status == 422
    for query in (
        "limit=0",
        "limit=-1",
        "limit=1e3",
        "limit=999999999999999999999",
        "before=../x",
        "before=%00",
    ):
        assert _raw(surface, "author", "GET", f"/api/v1/airlock/requests?{query}", b"").status in {
            404,
            422,
        }, query


def test_tickets_that_are_expired_used_or_of_others_open_nothing(surface: Surface) -> None:
    good = surface.things["ticket"][""]["ticket"]
    member = surface.page("member", "POST", "/airlock/download", {"ticket": good})
    unknown = surface.page("member", "POST", "/airlock/download", {"ticket": "A" * 43})
    assert (member.status, unknown.status) == (410, 410)
    assert surface.page("author", "POST", "/airlock/download", {"ticket": "A" * 5000}).status == 422
    first = surface.page("author", "POST", "/airlock/download", {"ticket": good})
    again = surface.page("author", "POST", "/airlock/download", {"ticket": good})
    assert (first.status, again.status) == (200, 410)
    seen = view_ticket(surface)
    assert surface.page("reviewer", "POST", "/airlock/download", {"ticket": seen}).status == 410
    surface.put_back()


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", "Bearer " + "A" * 100_000),
        ("authorization", "Basic YTpi"),
        ("authorization", "Bearer \xff\xfe"),
        ("cookie", f"{COOKIE}=" + "A" * 100_000),
        ("cookie", "; ".join(f"c{n}=1" for n in range(20_000))),
    ],
)
def test_credentials_that_cannot_be_any_are_nobody(surface: Surface, header: tuple[str, str]) -> None:
    assert surface.ask("GET", "/api/v1/projects", [header]).status == 401


async def _endless(piece: bytes, taken: list[int], most: int) -> AsyncIterator[bytes]:
    while sum(taken) < most:
        taken.append(len(piece))
        yield piece


@pytest.mark.parametrize("declared", [None, "10737418240", "4"])
@pytest.mark.parametrize("kind", ["file", "upload", "json", "door"])
def test_ten_gibibytes_are_cut_at_the_limit(surface: Surface, kind: str, declared: str | None) -> None:
    """Announced truly, announced falsely, or not at all: what is read stays near the limit."""
    taken: list[int] = []
    octets = ("content-type", "application/octet-stream")
    draft = surface.things["ingress"]["draft"]["request_id"]
    upload = surface.things["upload"]["open"]["upload_id"]
    method, target, who, headers = {
        "file": ("PUT", f"/api/v1/airlock/requests/{draft}/files/big.bin", "author", [octets]),
        "upload": (
            "PATCH",
            f"/api/v1/airlock/uploads/{upload}",
            "author",
            [*TUS, ("upload-offset", "0"), ("content-type", "application/offset+octet-stream")],
        ),
        "json": ("POST", "/api/v1/people", "admin", [JSON]),
        "door": (
            "PUT",
            f"/door/v1/drafts/{surface.things['draft']['']['draft_id']}/files/big.bin",
            "door",
            [octets],
        ),
    }[kind]
    length = [("content-length", declared)] if declared else []
    answer = surface.ask(
        method,
        target,
        [*_bearer(surface, who), *headers, *length],
        _endless(b"\0" * (1 << 16), taken, 10 << 30),
        app=surface.door if kind == "door" else None,
    )
    assert answer.status in {413, 422}, answer.text
    assert sum(taken) <= 4 << 20
    surface.put_back()  # a broken upload keeps what came in order


def test_long_addresses_are_refused_early(surface: Surface) -> None:
    check: Callable[[str], int] = lambda target: surface.ask("GET", target).status  # noqa: E731 - three uses, one line
    assert check("/api/v1/projects/" + "a" * 9000) == 414
    assert check("/?" + "a=b&" * 3000) == 414
    assert check("/api/v1/projects/" + "a" * 7000) == 401
