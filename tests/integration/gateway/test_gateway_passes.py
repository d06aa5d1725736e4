"""The gateway over real TLS: what reaches an upstream, in which words, and what never does."""

import http.client
import json

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broch_core.ids import new_principal
from broch_workspaces.gateway.calls import find_call
from support.counts import count
from support.gateway import OTHER_ZONE, TOKEN, ZONE, gateway_rig
from support.gateway_calls import BYTES, FILE, ID, IMPORTER, OWN, RUTH, refused, tell

# ---- what passes ------------------------------------------------------------


def test_a_door_call_is_passed_on_in_the_words_of_the_gateway(rig):
    answer = rig.ask("POST", "/door/v1/drafts", RUTH, [("Content-Type", "application/json")], b"{}")
    assert (answer.status, answer.json()) == (200, {"upstream": "door"})
    [seen] = rig.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/door/v1/drafts", b"{}")
    assert {name.lower(): value for name, value in seen.headers if name not in OWN} == {
        "content-type": "application/json",
        "content-length": "2",
        "authorization": f"Bearer {TOKEN}",
        "broch-pod": f"{ZONE}/ws-1",
        "broch-account": "workspace",
    }


def test_what_a_client_says_of_itself_is_dropped(rig):
    lies = [
        ("Broch-Pod", f"{OTHER_ZONE}/ws-9"),
        ("broch-account", "importer"),
        ("BROCH-POD", "x"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Cookie", "__Host-broch=stolen"),
        ("Connection", "Broch-Pod, Authorization"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Accept", "text/html"),
        ("Range", "bytes=0-1"),
    ]
    assert rig.ask("GET", "/door/v1/imports", RUTH, lies).status == 200
    [seen] = rig.seen
    assert seen.header("broch-pod") == [f"{ZONE}/ws-1"]
    assert seen.header("broch-account") == ["workspace"]
    assert {name.lower() for name, _ in seen.headers if name not in OWN} == {
        *("authorization", "broch-pod", "broch-account"),
    }


def test_a_hub_call_keeps_its_own_token_and_gets_no_other(rig):
    principal = new_principal()
    answer = rig.ask(
        "POST",
        f"/hub/api/users/{principal}/activity",
        headers=[("Authorization", "token of-the-hub"), ("Cookie", "a=b"), ("Broch-Pod", "x")],
        body=b'{"servers": {}}',
    )
    assert (answer.status, answer.json()) == (200, {"upstream": "hub"})
    [seen] = rig.seen
    assert seen.header("authorization") == ["token of-the-hub"]
    assert {name.lower() for name, _ in seen.headers if name not in OWN} == {
        "authorization",
        "content-length",
    }
    assert seen.body == b'{"servers": {}}'
    assert rig.judge.asked == 0


def test_nothing_of_an_answer_comes_back_but_what_a_zone_needs(rig):
    answer = rig.ask("GET", "/hub/api/user", headers=[("Authorization", "token x")])
    assert {name.lower() for name, _ in answer.headers} <= {
        *("content-type", "content-length", "date", "server", "connection", "cache-control"),
        "x-content-type-options",
    }
    assert answer.header("server") == "broch"


def test_a_large_file_streams_through_whole(rig):
    data = bytes(range(256)) * 4000
    assert rig.ask("PUT", FILE, RUTH, [BYTES], data).status == 200
    assert rig.seen[0].body == data


def test_a_large_delivery_streams_back_whole(rig):
    data = bytes(range(256)) * 8000

    async def send(request):
        answer = web.StreamResponse(headers={"Broch-Sha256": "a" * 64, "Content-Length": str(len(data))})
        await answer.prepare(request)
        for start in range(0, len(data), 50_000):
            await answer.write(data[start : start + 50_000])
        return answer

    rig.reply = send
    answer = rig.ask("GET", f"/door/v1/deliveries/{ID}", IMPORTER)
    assert (answer.status, answer.body == data, answer.header("broch-sha256")) == (200, True, "a" * 64)


def test_the_doors_own_refusal_comes_through_before_the_body_is_sent(rig):
    async def no(request):
        return web.json_response({"detail": "too many"}, status=429, content_type="application/problem+json")

    rig.reply = no
    answer = rig.ask("PUT", FILE, RUTH, [BYTES], b"x" * 500_000)
    assert (answer.status, answer.json()) == (429, {"detail": "too many"})


# ---- what does not ----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET /door/v1/imports?x=1 HTTP/1.1\r\n\r\n",
        b"GET //door/v1/imports HTTP/1.1\r\nHost: g\r\n\r\n",
        b"GET /door%2Fv1/imports HTTP/1.1\r\nHost: g\r\n\r\n",
        b"GET https://broch-web:8445/door/v1/imports HTTP/1.1\r\nHost: g\r\n\r\n",
        b"CONNECT broch-web:8445 HTTP/1.1\r\nHost: broch-web:8445\r\n\r\n",
        b"GET /door/v1/imports HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST /door/v1/drafts HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /door/v1/drafts HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /door/v1/drafts HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"POST /door/v1/drafts HTTP/1.1\r\nHost: g\r\nContent-Length: -2\r\n\r\n",
        b"POST /door/v1/drafts HTTP/1.1\r\nHost: g\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /door/v1/imports HTTP/1.1\r\nHost : g\r\n\r\n",
        b"GET /door/v1/imports HTTP/1.1\r\nHost: g\r\nA: b\r\n c\r\n\r\n",
        b"GET /door/v1/imports\r\n\r\n",
        b"\x16\x03\x01\x02\x00 garbage\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET /door/v1/imports HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /door/v1/imports HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET /door/v1/imports HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer a.b.c\r\nAuthorization: Bearer x\r\n\r\n",
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
def test_what_is_bent_is_refused_in_words_and_never_passed_on(steady, data):
    before = len(steady.seen)
    answer = steady.send(data)
    assert 400 <= answer.status < 500
    assert refused(answer, answer.status)
    assert len(steady.seen) == before


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.7"])
def test_another_version_of_http_is_not_passed_on(steady, version):
    before = len(steady.seen)
    with steady.connect() as connection:
        connection.sendall(f"GET /door/v1/imports {version}\r\nAuthorization: Bearer {RUTH}\r\n\r\n".encode())
        assert b" 400 " in connection.recv(100).splitlines()[0]
    assert len(steady.seen) == before


WILD = count("no wild request line reaches an upstream of the gateway", ci=1000, nightly=20_000)
_WORDS = st.sampled_from(
    [
        *("/door/v1/", "/hub/api/", "drafts", "imports", "requests", "deliveries/", ID, "/files/", "user"),
        *(
            "..",
            "/./",
            "//",
            "%2e%2e",
            "%2F",
            "%00",
            "%",
            ";",
            "?",
            "#",
            "\\",
            "@evil",
            ":8445",
            " ",
            "é",
            "\t",
        ),
    ]
)


@settings(max_examples=WILD, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "get", "DELETE", "OPTIONS", "TRACE"]),
    words=st.lists(_WORDS, min_size=1, max_size=7),
)
def test_no_wild_request_line_reaches_an_upstream(steady, method, words):
    target = "".join(words)
    before = len(steady.seen)
    try:
        answer = steady.ask(method, target, RUTH)
    except (http.client.HTTPException, ConnectionError):
        assert len(steady.seen) == before
        return
    if find_call(method, target) is None:
        assert 400 <= answer.status < 500
        assert len(steady.seen) == before
    else:  # made by chance
        assert len(steady.seen) >= before


def test_the_account_is_part_of_the_call(rig):
    assert refused(rig.ask("GET", f"/door/v1/deliveries/{ID}", RUTH), 403)
    assert refused(rig.ask("GET", "/door/v1/imports", IMPORTER), 403)
    assert rig.seen == []
    assert rig.ask("GET", f"/door/v1/deliveries/{ID}", IMPORTER).status == 200
    assert rig.ask("GET", "/door/v1/imports", RUTH).status == 200


def test_nobody_without_a_good_token_passes(rig):
    assert refused(rig.ask("GET", "/door/v1/imports"), 401)
    assert refused(rig.ask("GET", "/door/v1/imports", "not-one"), 401)
    assert refused(rig.ask("GET", "/door/v1/imports", "un.known.token"), 401)
    assert refused(rig.ask("GET", "/door/v1/imports", headers=[("Authorization", f"Basic {RUTH}")]), 401)
    assert rig.seen == []
    assert rig.count("refused", "sign-in-needed") == 4


def test_a_cluster_that_cannot_say_lets_nobody_through(rig):
    rig.judge.away = True
    assert refused(rig.ask("GET", "/door/v1/imports", RUTH), 503)
    assert rig.seen == []
    rig.judge.away = False
    assert rig.ask("GET", "/door/v1/imports", RUTH).status == 200


def test_a_token_carried_to_another_address_is_no_use(rig):
    assert rig.ask("GET", "/door/v1/imports", RUTH, source="127.0.0.2").status == 200
    assert refused(rig.ask("GET", "/door/v1/imports", RUTH, source="127.0.0.3"), 403)
    assert rig.ask("GET", "/door/v1/imports", RUTH, source="127.0.0.2").status == 200


# ---- the other port, and TLS ------------------------------------------------


def test_health_and_counts_are_on_the_other_port_alone(rig):
    own = rig.running.own_port
    rig.ask("GET", "/door/v1/imports", "un.known.token")
    assert rig.ask("GET", "/healthz", port=own).body == b"ok\n"
    text = rig.ask("GET", "/metrics", port=own).body.decode()
    assert 'broch_gateway_refused_total{reason="sign-in-needed"} 1' in text
    assert 'broch_gateway_reviews_total{answer="refused"} 1' in text
    assert rig.ask("GET", "/door/v1/imports", RUTH, port=own).status == 404
    for path in ("/healthz", "/metrics"):
        assert refused(rig.ask("GET", path, RUTH), 403)
    assert rig.seen == []


def test_the_gateway_believes_no_upstream_of_another_authority(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        gateway_rig(tmp_path / "one") as other,
        gateway_rig(tmp_path / "two", door=f"https://localhost:{other.port}") as rig,
    ):
        tell(rig)
        assert refused(rig.ask("GET", "/door/v1/imports", RUTH), 503)
        assert json.loads(rig.ask("GET", "/hub/api", RUTH).body) == {"upstream": "hub"}
