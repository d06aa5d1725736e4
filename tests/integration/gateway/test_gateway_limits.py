"""How much the gateway takes, how long it waits, and how many it answers at once."""

import asyncio
import http.client
import socket
import ssl
import threading
import time

import pytest
from aiohttp import web

from support.gateway import OTHER_ZONE, gateway_rig, read_answer, review
from support.gateway_calls import FILE, ID, IMPORTER, RUTH, refused, tell

# ---- sizes and patience -----------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "size"),
    [
        ("PUT", FILE, (1 << 20) + 1),
        ("POST", "/door/v1/drafts", (32 << 10) + 1),
        ("POST", "/hub/api/oauth2/token", (64 << 10) + 1),
        ("GET", "/door/v1/imports", 1),
        ("PUT", FILE, 10**17),
    ],
)
def test_what_says_to_be_too_large_is_refused_at_once(rig, method, target, size):
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {RUTH}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    assert refused(rig.send(head.encode() + b"x"), 413), "and no 408: nobody waits for the rest"
    assert rig.seen == []


def _drip(connection):
    for _ in range(100):
        connection.sendall(b"A: b\r\n")
        time.sleep(0.1)


def test_headers_that_drip_are_cut(rig):
    began = time.monotonic()
    with rig.connect() as connection:
        connection.sendall(b"GET /door/v1/imports HTTP/1.1\r\n")
        with pytest.raises((ssl.SSLError, OSError)):
            _drip(connection)
    assert time.monotonic() - began < 9, "the drops alone take 10 s"


def test_a_body_that_stops_is_not_waited_for(rig):
    began = time.monotonic()
    with rig.connect() as connection:
        connection.sendall(
            f"PUT {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {RUTH}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nabc".encode()
        )
        answer = read_answer(connection)
    assert refused(answer, 408)
    assert time.monotonic() - began < 15
    assert [seen for seen in rig.seen if len(seen.body) == 1000] == []


def test_a_body_that_drips_is_not_waited_for(tmp_path):
    with gateway_rig(tmp_path, idle_seconds=0.5, slowest_bytes=1000) as rig:
        tell(rig)
        with rig.connect() as connection:
            connection.sendall(
                f"PUT {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {RUTH}\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n".encode()
            )
            stop = threading.Event()

            def drip():
                while not stop.wait(0.1):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                assert refused(read_answer(connection), 408)
            finally:
                stop.set()
                thread.join()


def test_a_body_that_ends_early_never_arrives_as_a_whole(rig):
    with rig.connect() as connection:
        connection.sendall(
            f"PUT {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {RUTH}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nabc".encode()
        )
        connection.shutdown(socket.SHUT_RDWR)
    time.sleep(0.5)
    assert rig.seen == []


def test_an_upload_may_take_longer_than_the_answer_may(tmp_path):
    with gateway_rig(tmp_path, answer_seconds=3.0, idle_seconds=15.0) as rig:
        tell(rig)
        with rig.connect() as connection:
            connection.sendall(
                f"PUT {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {RUTH}\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: 8\r\n\r\n".encode()
            )
            for _ in range(8):
                time.sleep(0.5)
                connection.sendall(b"x")
            assert read_answer(connection).status == 200
        assert rig.seen[0].body == b"xxxxxxxx"


def test_an_upstream_that_says_nothing_is_no_endless_wait(tmp_path):
    with gateway_rig(tmp_path, answer_seconds=0.5) as rig:
        tell(rig)

        async def never(_):
            await asyncio.sleep(5)
            return web.Response()

        rig.reply = never
        assert refused(rig.ask("GET", "/door/v1/imports", RUTH), 503)


def test_half_an_answer_does_not_look_like_a_whole_one(rig):
    async def half(request):
        answer = web.StreamResponse()  # without a length: only its end says that it is whole
        await answer.prepare(request)
        await answer.write(b"half")
        request.transport.abort()
        return answer

    rig.reply = half
    with pytest.raises((http.client.HTTPException, OSError)):
        rig.ask("GET", f"/door/v1/deliveries/{ID}", IMPORTER)


def test_an_upstream_that_is_away_or_is_another_is_said_plainly(tmp_path):
    with gateway_rig(tmp_path, door="https://localhost:1", hub="https://localhost:1") as rig:
        tell(rig)
        assert refused(rig.ask("GET", "/door/v1/imports", RUTH), 503)
        assert refused(rig.ask("GET", "/hub/api", RUTH), 503)


# ---- how many at once -------------------------------------------------------


def _waiting(rig, token, source):
    connection = rig.connect(source=source)
    connection.sendall(
        f"PUT {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nx".encode()
    )
    return connection


def _under_way(rig, wanted):
    for _ in range(1000):
        if rig.running.gateway.under_way == wanted:
            return
        time.sleep(0.02)
    raise AssertionError(rig.running.gateway.under_way)


def test_one_pod_and_one_zone_leave_room_for_the_others(tmp_path):
    with gateway_rig(tmp_path, pod_requests=2, zone_requests=3, requests=4) as rig:
        rig.judge.answers = {f"pod.{n}.x": review(pod=f"ws-{n}", number=n) for n in range(5)} | {
            f"other.{n}.x": review(OTHER_ZONE, pod=f"ws-{n}", number=10 + n) for n in range(5)
        }
        held = [_waiting(rig, "pod.1.x", "127.0.0.11") for _ in range(2)]
        _under_way(rig, 2)
        assert refused(rig.ask("GET", "/door/v1/imports", "pod.1.x", source="127.0.0.11"), 429)
        held.append(_waiting(rig, "pod.2.x", "127.0.0.12"))
        _under_way(rig, 3)
        assert refused(rig.ask("GET", "/door/v1/imports", "pod.3.x", source="127.0.0.13"), 429)
        assert rig.ask("GET", "/door/v1/imports", "other.1.x", source="127.0.0.21").status == 200
        held.append(_waiting(rig, "other.1.x", "127.0.0.21"))
        _under_way(rig, 4)
        assert refused(rig.ask("GET", "/door/v1/imports", "other.2.x", source="127.0.0.22"), 429)
        counted = {label: rig.count("refused", f"full-{label}") for label in ("address", "zone", "all")}
        assert counted == {"address": 1, "zone": 1, "all": 1}
        for connection in held:
            connection.close()
        _under_way(rig, 0)
        assert rig.ask("GET", "/door/v1/imports", "pod.1.x", source="127.0.0.11").status == 200


def test_packages_that_come_slowly_leave_room_for_the_door(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = f"https://localhost:{silent.getsockname()[1]}"
        with gateway_rig(tmp_path, packages=away, package_requests=2, requests=3) as rig:
            tell(rig)
            index = "/packages/npm/tidy"
            held = [threading.Thread(target=rig.ask, args=("GET", index, RUTH)) for _ in range(2)]
            for one in held:
                one.start()
            _under_way(rig, 2)
            assert refused(rig.ask("GET", index, RUTH), 429)
            assert rig.count("refused", "full-packages") == 1
            assert rig.ask("GET", "/door/v1/imports", RUTH).status == 200
            for one in held:
                one.join(20)
            _under_way(rig, 0)


def test_idle_connections_of_one_address_leave_room_for_the_others(tmp_path):
    with gateway_rig(tmp_path, address_connections=3, header_seconds=20) as rig:
        tell(rig)
        held = [rig.connect(source="127.0.0.2") for _ in range(3)]
        with pytest.raises((http.client.HTTPException, OSError)):
            rig.ask("GET", "/door/v1/imports", RUTH, source="127.0.0.2")
        assert rig.ask("GET", "/door/v1/imports", RUTH, source="127.0.0.4").status == 200
        for connection in held:
            connection.close()
