"""Bad input over a real connection to a running Broch: a 4xx that fits, bounded memory, nothing changed."""

import base64
import contextlib
import json
import time

import httpx
import pytest

from integration.up.at_rest import at_rest
from integration.up.hostile_line import MIB, Line, memory, zip_of_files, zip_of_zeros
from integration.up.up_acts import await_ready, draft, got, outcome, project_of, services, submit
from support.counts import count
from support.running import client, running_broch

GIB = 1 << 30
LARGEST = 32 * MIB
AFTER_REFUSAL = count("GiB that a client goes on to send after it was refused", ci=1, nightly=10)
TICKET_SECONDS = 5


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    with running_broch(
        tmp_path_factory.mktemp("bad"),
        BROCH_AIRLOCK_FILE_BYTES=str(LARGEST),
        BROCH_TICKET_LIFETIME=f"PT{TICKET_SECONDS}S",
    ) as running:
        await_ready(running)
        yield running


@pytest.fixture(scope="module")
def people(bad):
    with contextlib.ExitStack() as stack:
        yield {who: stack.enter_context(client(bad, who)) for who in ("ada", "ruth", "sunniva")}


@pytest.fixture(scope="module")
def open_draft(people):
    return draft(people["ada"], {"notes.txt": b"group,count\na,12\n"})


@pytest.fixture(scope="module")
def in_review(people):
    request = draft(people["ada"], {"table.csv": b"group,count\na,12\n"})
    submit(people["ada"], request)
    assert outcome(people["ada"], request)["status"] == "in_review"
    return got(people["ruth"].get(f"/api/v1/airlock/requests/{request['id']}/review"))


@pytest.fixture
def web(bad):
    return services(bad)["web"].pid


@pytest.fixture
def unchanged(bad, open_draft, in_review):
    """Compare every row and every byte kept, before and after."""
    before = at_rest(bad)
    yield
    assert at_rest(bad) == before


@pytest.fixture
def line(bad):
    made = Line(bad.port)
    with made.socket:
        yield made


def streams(request):
    """Return what takes long bodies: (who, method, target, headers)."""
    return {
        "file": (
            "ada",
            "PUT",
            f"/api/v1/airlock/requests/{request['id']}/files/big.bin",
            "application/octet-stream",
        ),
        "JSON": ("sunniva", "POST", "/api/v1/people", "application/json"),
        "form": ("sunniva", "POST", "/people", "application/x-www-form-urlencoded"),
    }


@pytest.mark.parametrize("kind", ["file", "JSON", "form"])
def test_ten_gibibytes_that_are_announced_are_refused_before_they_come(
    bad, people, web, open_draft, unchanged, line, kind
):
    who, method, target, type_ = streams(open_draft)[kind]
    with memory(web):
        line.head(bad, people[who], method, target, f"Content-Type: {type_}", f"Content-Length: {10 * GIB}")
        assert line.status() == 413


@pytest.mark.parametrize("kind", ["file", "JSON"])
def test_a_body_that_never_ends_is_cut_and_the_rest_is_not_kept(
    bad, people, web, open_draft, unchanged, line, kind
):
    """A client that was refused and goes on sending costs nobody's memory."""
    who, method, target, type_ = streams(open_draft)[kind]
    piece = b"100000\r\n" + b"\0" * MIB + b"\r\n"
    with memory(web):
        line.head(bad, people[who], method, target, f"Content-Type: {type_}", "Transfer-Encoding: chunked")
        taken = sent = 0
        while sent < LARGEST // MIB + 16 + AFTER_REFUSAL * 1024:
            if not line.send(piece):
                break
            sent += 1
            if not line.look():
                taken = sent
        assert line.status() == 413
    assert taken <= LARGEST // MIB + 16


def test_a_length_that_lies_does_not_smuggle_a_second_request(bad, people, open_draft, unchanged, line):
    """What comes behind the announced bytes is another request, and this is none."""
    target = f"/api/v1/airlock/requests/{open_draft['id']}/files/notes.txt"
    content = b"group,count\na,12\n"  # the bytes that are there already: nothing changes
    line.head(
        bad, people["ada"], "PUT", target,
        "Content-Type: application/octet-stream", f"Content-Length: {len(content)}",
    )  # fmt: skip
    line.send(content + b"\0" * MIB)
    assert line.status() in {201, 400}
    assert line.answer.count(b"HTTP/1.1 2") <= 1


def test_a_connection_that_breaks_in_a_file_leaves_nothing(bad, people, open_draft, unchanged):
    line = Line(bad.port)
    with line.socket:
        target = f"/api/v1/airlock/requests/{open_draft['id']}/files/half.bin"
        line.head(
            bad, people["ada"], "PUT", target,
            "Content-Type: application/octet-stream", f"Content-Length: {LARGEST}",
        )  # fmt: skip
        line.send(b"\0" * 4 * MIB)


def test_resumable_uploads_end_at_what_was_announced(bad, people, web, open_draft, unchanged):
    tus = {"Tus-Resumable": "1.0.0"}
    ada, where = people["ada"], f"/api/v1/airlock/requests/{open_draft['id']}/uploads"
    name = {"Upload-Metadata": f"filename {base64.b64encode(b'big.bin').decode()}"}
    with memory(web):
        for length, status in (
            (str(10 * GIB), 413),
            ("9" * 400, 422),
            ("-1", 422),
            ("4.0", 422),
            ("\u0664", 422),
        ):
            answer = ada.post(
                where, headers=[*tus.items(), *name.items(), ("Upload-Length", length.encode())]
            )
            assert answer.status_code == status, (length, answer.text)
        begun = ada.post(where, headers={**tus, **name, "Upload-Length": "4"})
        assert begun.status_code == 201
        part = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        more = ada.patch(begun.headers["location"], headers=part, content=iter([b"\0" * MIB] * 8))
        assert more.status_code == 413
        assert ada.delete(begun.headers["location"], headers=tus).status_code == 204


def test_a_sparse_file_of_ten_gibibytes_is_not_picked(bad, people, web, open_draft, unchanged):
    """The person's own folder in the zone: a process there can make the file with one call."""
    project = project_of(people["ada"])
    got(
        people["ada"].get(f"/api/v1/airlock/zones/{project}")
    )  # Broch makes the zone's folders when asked for them
    zone = bad.folder / "zones" / project / "project"
    with (zone / "big.bin").open("xb") as file:
        file.truncate(10 * GIB)
    try:
        with memory(web):
            body = {"project_id": project, "area": "project", "paths": ["big.bin"]}
            answer = people["ada"].post("/api/v1/airlock/picks", json=body)
        assert answer.status_code == 413, answer.text
    finally:
        (zone / "big.bin").unlink()


HEADS = {
    "an endless address": (b"GET /" + b"a" * 100, b"a" * 65536),
    "an endless header": (b"GET / HTTP/1.1\r\nHost: h\r\nX-A: ", b"a" * 65536),
    "an endless name of a header": (b"GET / HTTP/1.1\r\nHost: h\r\nX", b"a" * 65536),
    "headers without end": (
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"".join(b"X-%d: 1\r\n" % n for n in range(6000)),
    ),
    "an endless method": (b"G", b"G" * 65536),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_without_end_are_cut(bad, web, unchanged, line, kind):
    beginning, more = HEADS[kind]
    with memory(web):
        line.send(beginning)
        sent = 0
        while sent < 64 * MIB and line.send(more) and not line.look():
            sent += len(more)
        assert line.status() in {400, 414, 431}
    assert sent < 16 * MIB


def test_trailers_and_extensions_without_end_are_cut(bad, people, web, open_draft, unchanged):
    target = f"/api/v1/airlock/requests/{open_draft['id']}/files/big.bin"
    for beginning, more in (
        (b"0\r\nX: ", b"a" * 65536),
        (b"0\r\n", b"X-Y: 1\r\n" * 8192),
        (b"1;a=", b"a" * 65536),
    ):
        line = Line(bad.port)
        with line.socket, memory(web):
            line.head(
                bad, people["ada"], "PUT", target,
                "Content-Type: text/plain", "Transfer-Encoding: chunked",
            )  # fmt: skip
            line.send(beginning)
            sent = 0
            while sent < 64 * MIB and line.send(more):
                sent += len(more)
            assert sent < 32 * MIB


def test_a_head_of_usual_size_is_answered(bad, line):
    """The twin: long cookies are no attack."""
    line.send(
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: a=%s\r\n\r\n" % (bad.port, b"a" * 16000)
    )
    assert line.status() == 200


def test_a_long_address_is_refused(bad, line):
    line.send(b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (b"a" * 20_000, bad.port))
    assert line.status() == 414


BODIES = {
    "nothing": (b"", {422}),
    "no JSON": (b"{", {422}),
    "deep lists": (b"[" * 500_000, {400, 422}),
    "deep objects": (b'{"a":' * 150_000 + b"1" + b"}" * 150_000, {400, 422}),
    "a huge integer": (b'{"turn": ' + b"9" * 900_000 + b"}", {400, 422}),
    "a large integer": (b'{"opinion": "approve", "sha256": "%(sha256)s", "turn": 99999999999999999999}', {422}),
    "NUL": (b'{"opinion": "reject", "sha256": "%(sha256)s", "turn": %(turn)d, "comment": "a\\u0000"}', {422}),
    "bidi": (b'{"opinion": "reject", "sha256": "%(sha256)s", "turn": %(turn)d, "comment": "a\\u202e"}', {422}),
    "lone surrogate": (b'{"opinion": "reject", "sha256": "%(sha256)s", "turn": 1, "comment": "\\ud800"}', {422}),
    "a name twice": (b'{"opinion": "reject", "opinion": "approve", "sha256": "%(sha256)s", "turn": %(turn)d}', {400}),
    "a name twice, once escaped": (
        b'{"opinion": "reject", "\\u006fpinion": "approve", "sha256": "%(sha256)s", "turn": %(turn)d}', {400},
    ),
    "the same twice": (b'{"opinion": "approve", "sha256": "%(sha256)s", "turn": 1, "turn": 1}', {400}),
    "another case of a name": (b'{"Opinion": "approve", "sha256": "%(sha256)s", "turn": %(turn)d}', {422}),
    "over a mebibyte": (b'{"comment": "' + b"a" * (2 * MIB) + b'"}', {413}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BODIES)
def test_nobody_decides_by_bad_json(bad, people, web, in_review, unchanged, kind):
    body, wanted = BODIES[kind]
    file = in_review["files"][0]
    for name, value in ((b"%(sha256)s", file["sha256"].encode()), (b"%(turn)d", b"%d" % in_review["turn"])):
        body = body.replace(name, value)
    target = f"/api/v1/airlock/requests/{in_review['id']}/files/{file['id']}/decisions"
    with memory(web):
        answer = people["ruth"].post(target, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in wanted, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 20_000


NAMES = (
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..",
    "a%00.csv",
    "table%E2%80%AEvsc.exe",
    "%ED%A0%80.csv",
    "a" * 300,
    "%0a",
)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_has_a_name_that_is_a_way_elsewhere(bad, people, open_draft, unchanged, line, name):
    target = f"/api/v1/airlock/requests/{open_draft['id']}/files/{name}"
    line.head(
        bad, people["ada"], "PUT", target, "Content-Type: application/octet-stream", "Content-Length: 2"
    )
    line.send(b"ab")
    assert line.status() in {404, 405, 422}
    assert not (bad.folder.parent / "etc").exists()


def test_a_hundred_thousand_files_in_one_request_are_too_many(bad, people, web, open_draft, unchanged):
    file = open_draft["file_list"][0]
    one = {"file_id": file["id"], "sha256": file["sha256"]}
    target = f"/api/v1/airlock/requests/{open_draft['id']}/submit"
    with memory(web):
        many = people["ada"].post(target, json={"purpose": "Table 2", "files": [one] * 100_000})
        some = people["ada"].post(target, json={"purpose": "Table 2", "files": [one] * 8_000})
        picks = {"project_id": open_draft["project_id"], "area": "project", "paths": ["a"] * 100_000}
        picked = people["ada"].post("/api/v1/airlock/picks", json=picks)
    assert (many.status_code, some.status_code, picked.status_code) == (413, 422, 422)


def test_a_ticket_whose_time_is_over_opens_nothing(bad, people, in_review, open_draft):
    file = in_review["files"][0]
    target = f"/api/v1/airlock/requests/{in_review['id']}/files/{file['id']}/views"
    body = {"sha256": file["sha256"], "turn": in_review["turn"]}
    fresh, late = (got(people["ruth"].post(target, json=body), 201) for _ in range(2))
    viewer = {"Host": f"viewer.broch.localhost:{bad.port}"}

    def look(ticket):
        return httpx.post(
            f"{bad.api}/view", data={"ticket": ticket["ticket"]}, headers=viewer, trust_env=False, timeout=60
        )

    assert look(fresh).status_code == 200
    time.sleep(TICKET_SECONDS + 0.2)
    before = at_rest(bad)
    assert look(late).status_code == 410
    assert look(fresh).status_code == 410  # used
    assert at_rest(bad) == before


@pytest.mark.parametrize(
    ("name", "make"),
    [("bomb.zip", lambda: zip_of_zeros(10 * GIB)), ("many.zip", lambda: zip_of_files(100_000))],
)
def test_bombs_are_quarantined_and_burst_nothing(bad, people, web, name, make):
    """The checks open them in a throw-away sandbox; the server itself never does."""
    content = make()
    assert len(content) < LARGEST
    with memory(web):
        request = draft(people["ada"], {name: content, "innocent.py": b"print(1)\n"})
        submit(people["ada"], request)
        found = outcome(people["ada"], request, 120)
    assert found["status"] == "quarantined", found
    assert {row["name"]: row["verdict"] for row in found["file_list"]}[name] in {"unscannable", "blocked"}
    assert list((bad.folder / "blobs" / "tmp").iterdir()) == []


def test_the_twin_a_small_archive_passes(people):
    request = draft(people["ada"], {"code.zip": zip_of_files(3)})
    submit(people["ada"], request)
    assert outcome(people["ada"], request)["status"] == "in_review"


def test_the_server_is_well_after_all_of_it(bad):
    await_ready(bad)
    assert json.loads(httpx.get(f"{bad.api}/readyz", trust_env=False).text)
