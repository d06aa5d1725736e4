"""An API server with the pods of one zone, by the calls that the hub makes; a test says when and how it fails."""

import asyncio
import json

from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

ZONE = "zone-a"


def pod(name, version="1", **status):
    metadata = {"name": name, "namespace": ZONE, "resourceVersion": version, "uid": f"uid-{name}"}
    return {"kind": "Pod", "metadata": metadata, "status": status}


class Server:
    """Pods by name; `down` answers nothing of use, `answers` come first, once each."""

    def __init__(self) -> None:
        self.pods, self.version, self.lists, self.watches = {}, 1, 0, []
        self.asked, self.down, self.answers = [], False, []
        self.events = []

    async def handle(self, request):
        self.asked.append((request.method, request.path, dict(request.query)))
        if self.down:
            return web.Response(status=503, text="not json")
        if self.answers:
            status, body = self.answers.pop(0)
            return web.json_response(body, status=status)
        name = request.match_info.get("name")
        if name:
            return self.one(request.method, name)
        if request.path.endswith("/events"):
            return web.json_response({"items": self.events})
        if request.method == "POST":
            return self.make(await request.json())
        return await self.watch(request) if "watch" in request.query else self.list()

    def one(self, method, name):
        found = self.pods.pop(name, None) if method == "DELETE" else self.pods.get(name)
        return web.json_response(found or missing(), status=200 if found else 404)

    def make(self, made):
        made["metadata"] |= {"uid": "uid-new", "resourceVersion": "9"}
        self.pods[made["metadata"]["name"]] = made
        return web.json_response(made, status=201)

    def list(self):
        self.lists += 1
        version = {"resourceVersion": str(self.version)}
        return web.json_response({"kind": "PodList", "metadata": version, "items": list(self.pods.values())})

    async def watch(self, request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        queue = asyncio.Queue()
        self.watches.append((request.query["resourceVersion"], queue))
        while (event := await queue.get()) is not None:
            await answer.write(json.dumps(event).encode() + b"\n")
        return answer

    async def say(self, *events):
        """Send events on the watch that stands, waiting until there is one; None ends it."""
        await until(lambda: bool(self.watches))
        for event in events:
            self.watches[-1][1].put_nowait(event)

    async def cut(self):
        await self.say(None)
        self.watches.pop()


def missing():
    return {"kind": "Status", "reason": "NotFound", "message": "not found"}


async def until(check, seconds=20.0):
    for _ in range(int(seconds / 0.01)):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def with_server(story):
    """Run a story with a server and a client of it."""

    async def run():
        server = Server()
        app = web.Application()
        zone = f"/api/v1/namespaces/{ZONE}"
        for path in (f"{zone}/pods", f"{zone}/pods/{{name}}", f"{zone}/events"):
            app.router.add_route("*", path, server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        client = ApiClient(Configuration(host=f"http://127.0.0.1:{port}"))
        try:
            await asyncio.wait_for(story(server, CoreV1Api(client)), 60)
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(run())
