"""The hub's API and the proxy behind TLS: who is let in is told by certificates, and nothing is said in the clear."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from broch_core.tls import keep_renewed, server_context
from broch_spawner.control import ControlPlane, ControlPlaneError
from broch_spawner.endpoint import AWAY, Endpoint
from broch_spawner.hub_gate import HubFront, web_may
from broch_spawner.proxy import InProcessProxy
from support.cluster.authority import Authority

MINE = "w" + "a" * 25
HOST = "hub.broch.test"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Folders with certificates by component; `stranger` is of another authority."""
    folder, ours = tmp_path_factory.mktemp("tls"), Authority()
    for part in ("hub", "web", "gateway", "other"):
        ours.issue(f"broch-{part}", addresses=["127.0.0.1"]).write(folder / part)
    Authority().issue("broch-web", addresses=["127.0.0.1"]).write(folder / "stranger")
    # It believes us, but nobody of ours has signed it.
    (folder / "stranger" / "ca.crt").write_bytes(ours.pem)
    return folder


async def on_port(runner):
    return runner.addresses[0][1]


async def hub_on(socket: Path):
    """Listen on a socket like JupyterHub, and say what was asked."""

    async def handle(request):
        said = {"method": request.method, "path": request.raw_path, "headers": dict(request.headers)}
        return web.json_response(said, headers={"X-JupyterHub-Version": "6", "X-Inside": "secret"})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    return runner


def ask_front(certificates, tmp_path, calls):
    """Ask a front in front of a hub; return status and body of each (component, method, path, headers)."""

    async def story():
        hub = await hub_on(tmp_path / "hub.sock")
        front = HubFront(
            tmp_path / "hub.sock",
            port=0,
            tls=certificates / "hub",
            web_name="broch-web",
            gateway_name="broch-gateway",
        )
        await front.start()
        port = front._runner.addresses[0][1]
        found = []
        try:
            for part, method, path, headers in calls:
                endpoint = Endpoint.over_tls(f"https://127.0.0.1:{port}", certificates / part)
                try:
                    found.append(await endpoint.call(method, path, limit=1 << 20, headers=headers))
                except AWAY as error:
                    found.append((None, type(error).__name__))
        finally:
            await front.stop()
            await hub.cleanup()
        return found

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("part", "method", "path", "status"),
    [
        ("web", "POST", f"/hub/api/users/{MINE}/server", 200),
        ("web", "DELETE", f"/hub/api/users/{MINE}", 200),
        ("web", "GET", "/hub/api/users?state=active&sort=id&offset=0&limit=100", 200),
        ("web", "POST", "/hub/api/shutdown", 403),
        ("web", "POST", "/hub/api/oauth2/token", 403),
        ("web", "GET", f"/hub/api/users/{MINE}/../../shutdown", 403),
        ("gateway", "POST", "/hub/api/oauth2/token", 200),
        ("gateway", "POST", f"/hub/api/users/{MINE}/activity", 200),
        ("gateway", "POST", f"/hub/api/users/{MINE}/server", 403),
        ("gateway", "GET", "/hub/api/users", 403),
        ("other", "GET", "/hub/api/", 403),
        ("stranger", "GET", "/hub/api/", None),
    ],
)
def test_each_certificate_has_its_own_calls(certificates, tmp_path, part, method, path, status):
    [(found, body)] = ask_front(certificates, tmp_path, [(part, method, path, {})])
    assert found == status, body


def test_of_a_call_only_credential_and_type_go_on(certificates, tmp_path):
    headers = {"Authorization": "token x", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Broch-Pod": "y"}
    [(status, body)] = ask_front(certificates, tmp_path, [("web", "GET", "/hub/api/", headers)])
    assert status == 200
    assert b"token x" in body
    assert b"a=b" not in body
    assert b"1.2.3.4" not in body
    assert b"Broch-Pod" not in body


@pytest.mark.parametrize(
    "target",
    ["/hub/api/users/root", "/hub/api/users/" + MINE + "/server?x=1", "/hub/api/users/" + MINE + "%2f..", "/hub/login",
     "http://x/hub/api/", "/hub/api/users?a=../..", "/hub//api/"],
)  # fmt: skip
def test_the_control_plane_may_not_ask_what_it_never_asks(target):
    assert not web_may("GET", target)
    assert not web_may("POST", target)
    assert not web_may("PATCH", f"/hub/api/users/{MINE}")
    assert web_may("GET", f"/hub/api/users/{MINE}")


def test_a_control_plane_with_the_certificate_of_somebody_else_is_told_nothing(certificates):
    """The positive twin is every start of a workspace on a cluster."""

    async def story():
        asked = []

        async def handle(request):
            asked.append(request.path)
            return web.json_response({})

        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        foreign = certificates / "stranger"
        context.load_cert_chain(foreign / "tls.crt", foreign / "tls.key")
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        endpoint = Endpoint.over_tls(f"https://127.0.0.1:{await on_port(runner)}", certificates / "hub")
        with pytest.raises(ControlPlaneError, match="does not answer"):
            await ControlPlane(endpoint, "token").spawn_plan(MINE)
        await runner.cleanup()
        assert asked == []

    asyncio.run(story())


def test_a_listener_takes_up_a_renewed_certificate(tmp_path):
    async def story():
        ours = Authority()
        ours.issue("before", addresses=["127.0.0.1"]).write(tmp_path)
        context = server_context(tmp_path, clients=False)
        renewal = asyncio.create_task(keep_renewed(context, tmp_path, every=0.05))
        runner = web.ServerRunner(web.Server(lambda _request: web.Response()))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()

        async def shown():
            believing = ssl.create_default_context(cafile=tmp_path / "ca.crt")
            _, writer = await asyncio.open_connection("127.0.0.1", await on_port(runner), ssl=believing)
            found = dict(writer.get_extra_info("peercert")["subjectAltName"])["DNS"]
            writer.close()
            return found

        await asyncio.sleep(0)
        assert await shown() == "before"
        ours.issue("after", addresses=["127.0.0.1"]).write(tmp_path)
        for _ in range(100):
            if await shown() == "after":
                break
            await asyncio.sleep(0.05)
        assert await shown() == "after"
        renewal.cancel()
        await runner.cleanup()

    asyncio.run(story())


def test_an_endpoint_in_the_clear_is_none():
    with pytest.raises(ValueError, match="TLS"):
        Endpoint.over_tls("http://broch-web:8444", Path("/etc/broch/tls"))


def made_proxy(tmp_path, **more):
    return InProcessProxy(
        port=0,
        shell_origin="https://broch.test",
        hub_origin=f"https://{HOST}",
        control=Endpoint.at_socket(tmp_path / "none.sock"),
        shown_file=str(tmp_path / "shown.json"),
        **more,
    )


def test_a_proxy_for_other_machines_wants_tls(tmp_path):
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        asyncio.run(made_proxy(tmp_path, ip="0.0.0.0").start())


def test_the_proxy_speaks_of_https_to_both_sides(certificates, tmp_path):
    async def story():
        hub = await hub_on(tmp_path / "hub.sock")
        proxy = made_proxy(tmp_path, tls=str(certificates / "hub"))
        await proxy.start()
        target = "http+unix://" + str(tmp_path / "hub.sock").replace("/", "%2F")
        await proxy.add_route("/", target, {"hub": True})
        await proxy.add_route(f"{MINE}.{HOST}/user/{MINE}/", target, {"user": MINE})
        port = proxy._runner.addresses[0][1]
        context = ssl.create_default_context(cafile=certificates / "hub" / "ca.crt")
        async with aiohttp.ClientSession() as session:

            async def get(host, path, **headers):
                url = f"https://127.0.0.1:{port}{path}"
                sent = {"Host": host, **headers}
                async with session.get(url, headers=sent, ssl=context, allow_redirects=False) as answer:
                    return answer.status, dict(answer.headers), await answer.text()

            status, headers, said = await get(f"{MINE}.{HOST}", f"/user/{MINE}/lab")
            assert status == 200
            assert f"wss://{MINE}.{HOST};" in headers["Content-Security-Policy"]
            assert "http:" not in headers["Content-Security-Policy"]
            assert '"X-Forwarded-Proto": "https"' in said
            status, headers, _ = await get(HOST, f"/hub/user/{MINE}/lab")
            assert (status, headers["Location"]) == (302, f"https://{MINE}.{HOST}/user/{MINE}/lab")
            assert (await get(HOST, "/hub/health"))[0] == 200
            assert (await get(HOST, "/hub/token"))[0] == 404
            assert (await get("10.0.0.1", "/hub/health"))[0] == 421
        await proxy.stop()
        await hub.cleanup()

    asyncio.run(story())
