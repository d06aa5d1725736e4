"""Proxy and hub speak to a workspace's server by TLS, to that of its start alone: by a real proxy, and servers that lie."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from broch_spawner import project_spawner, proxy
from broch_spawner.endpoint import Endpoint
from broch_spawner.peers import Peers, new_identity
from broch_spawner.project_spawner import ProjectSpawner

MINE = "w" + "a" * 25
HOST = "hub.broch.localhost"
PATH = f"/user/{MINE}/api"


class Server:
    """A workspace's server at an address that others have had; keeps who asked for what."""

    def __init__(self, folder) -> None:
        self._folder, self.asked = folder, []
        self._runner = None
        self.port = 0

    async def _handle(self, request):
        self.asked.append(request.raw_path)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("secret of the kernel")
            await socket.close()
            return socket
        return web.Response(text="secret of the page")

    async def listen(self, identity):
        """Listen in the place of whoever listened before; None: in the clear."""
        context = None
        if identity is not None:
            pair = self._folder / "pair.pem"
            pair.write_text(identity.key + identity.certificate)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]
        self.asked.clear()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    async def stop(self):
        await self._runner.cleanup()


class Rig:
    """A proxy with one route, a browser, and what the proxy knows."""

    def __init__(self, server, port, session, peers) -> None:
        self.server, self.peers, self._port, self._session = server, peers, port, session
        self._headers = {"Host": f"{MINE}.{HOST}"}

    async def get(self):
        address = f"http://127.0.0.1:{self._port}{PATH}"
        async with self._session.get(address, headers=self._headers) as answer:
            return answer.status, await answer.text()

    async def websocket(self):
        address = f"http://127.0.0.1:{self._port}{PATH}/kernels/x/channels"
        try:
            async with self._session.ws_connect(address, headers=self._headers) as opened:
                return await opened.receive_str()
        except aiohttp.WSServerHandshakeError as error:
            return error.status


@asynccontextmanager
async def rig(tmp_path, monkeypatch):
    peers = Peers()
    monkeypatch.setattr(proxy, "PEERS", peers)
    server = Server(tmp_path)
    await server.listen(new_identity("nobody"))
    running = proxy.InProcessProxy(
        port=0,
        shell_origin="http://broch.localhost:1",
        hub_origin=f"http://{HOST}:2",
        control=Endpoint.at_socket(tmp_path / "none.sock"),
        shown_file=str(tmp_path / "shown.json"),
    )
    await running.start()
    await running.add_route(f"{MINE}.{HOST}/user/{MINE}/", server.url, {"user": MINE})
    async with aiohttp.ClientSession() as session:
        yield Rig(server, running._runner.addresses[0][1], session, peers)
    await running.stop()
    await server.stop()


def tried(tmp_path, monkeypatch, story):
    async def run():
        async with rig(tmp_path, monkeypatch) as on:
            await story(on)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_pages_and_websockets_of_the_one_server_come_through(tmp_path, monkeypatch):
    async def story(on):
        mine = new_identity(MINE)
        await on.server.listen(mine)
        on.peers.expect(on.server.url, mine.pin)
        assert await on.get() == (200, "secret of the page")
        assert await on.websocket() == "secret of the kernel"

    tried(tmp_path, monkeypatch, story)


@pytest.mark.parametrize("other", ["another start of the same workspace", "in the clear"])
def test_another_server_at_its_address_gets_no_byte_of_a_request(tmp_path, monkeypatch, other):
    async def story(on):
        mine = new_identity(MINE)
        on.peers.expect(on.server.url, mine.pin)
        await on.server.listen(new_identity(MINE) if other.startswith("another") else None)
        status, text = await on.get()
        assert (status, "secret" in text) == (503, False)
        assert await on.websocket() == 503
        assert on.server.asked == []
        await on.server.listen(mine)  # the control: the same address, with the right key
        assert (await on.get())[0] == 200

    tried(tmp_path, monkeypatch, story)


def test_a_connection_to_the_pod_before_is_not_used_for_the_next_at_its_address(tmp_path, monkeypatch):
    async def story(on):
        first, second = new_identity(MINE), new_identity(MINE)
        await on.server.listen(first)
        on.peers.expect(on.server.url, first.pin)
        assert (await on.get())[0] == 200
        assert on.server.asked == [PATH]
        # The first goes on listening, and its connection is open; the hub knows that the address is another's.
        on.peers.forget(first.pin)
        assert (await on.get())[0] == 503
        on.peers.expect(on.server.url, second.pin)
        assert (await on.get())[0] == 503
        assert on.server.asked == [PATH]

    tried(tmp_path, monkeypatch, story)


def test_the_hub_itself_takes_no_other_server_for_the_one_that_it_waits_for(tmp_path, monkeypatch):
    async def story(on):
        monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
        monkeypatch.setattr(project_spawner, "PEERS", on.peers)
        spawner = ProjectSpawner(user=SimpleNamespace(name=MINE, id=1, url=f"/user/{MINE}/"))
        spawner.server = SimpleNamespace(url=f"{on.server.url}/user/{MINE}/", orm_server=None)
        mine = new_identity(MINE)
        on.peers.expect(on.server.url, mine.pin)
        with pytest.raises(TimeoutError):
            await spawner.server.wait_up(timeout=1, http=True, extra_path="api")
        assert on.server.asked == []
        await on.server.listen(mine)
        assert (await spawner.server.wait_up(timeout=10, http=True, extra_path="api")).status == 200
        assert on.server.asked == [PATH]

    tried(tmp_path, monkeypatch, story)
