"""The connection to the API server: its credential is really sent, and what comes back is understood or refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from broch_core.tls import server_context
from broch_workspaces.cluster.controller.client import KubeClient, connect
from broch_workspaces.cluster.controller.failures import ApiError, Unreachable, expired
from broch_workspaces.cluster.controller.kinds import NAMESPACE, POLICY, Ref
from support.cluster.authority import Authority

DENY = Ref(POLICY, "zone-x", "deny")


class Server:
    """An HTTPS server in the place of an API server; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        self.text = '{"kind": "NetworkPolicy"}'
        self.stream: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            (request.method, request.path, {**request.query, **request.headers}, await request.read())
        )
        if "watch" not in request.query:
            return web.Response(status=self.status, text=self.text)
        response = web.StreamResponse()
        await response.prepare(request)
        for part in self.stream:
            await response.write(part)
        return response


def talk(folder: Path, user: dict[str, str], talk_: Callable[[Server, KubeClient], Awaitable[Any]]) -> Any:
    """Talk to a server with a kubeconfig of this user."""

    async def story() -> Any:
        Authority().issue("localhost", addresses=["127.0.0.1"]).write(folder / "tls")
        server, app = Server(), web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(folder / "tls", clients=False))
        await site.start()
        cluster = {
            "server": f"https://localhost:{runner.addresses[0][1]}",
            "certificate-authority": str(folder / "tls" / "ca.crt"),
        }
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(yaml.safe_dump(config))
        try:
            client = KubeClient(await connect(folder / "kubeconfig"))
            try:
                return await talk_(server, client)
            finally:
                await client.close()
        finally:
            await runner.cleanup()

    return asyncio.run(story())


def test_every_call_carries_the_token_and_a_write_is_strict_and_ours(tmp_path: Path) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        await client.get(DENY)
        await client.apply(DENY, {"kind": "NetworkPolicy"})
        async for _ in client.watch(POLICY, selector="a=b", version="1"):
            pass
        assert [words["Authorization"] for _, _, words, _ in server.asked] == ["Bearer sesame"] * 3
        method, path, words, body = server.asked[1]
        assert (method, path) == (
            "PATCH",
            "/apis/networking.k8s.io/v1/namespaces/zone-x/networkpolicies/deny",
        )
        assert (words["fieldManager"], words["force"], words["fieldValidation"]) == (
            "broch",
            "true",
            "Strict",
        )
        assert words["Content-Type"] == "application/apply-patch+yaml"
        assert json.loads(body) == {"kind": "NetworkPolicy"}

    talk(tmp_path, {"token": "sesame"}, story)


def test_without_a_credential_nothing_is_asked_at_all(tmp_path: Path) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        await client.get(DENY)

    with pytest.raises(RuntimeError, match="no credential"):
        talk(tmp_path, {}, story)


def test_a_delete_names_the_object_it_means_and_one_that_is_gone_is_fine(tmp_path: Path) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        server.status, server.text = 404, '{"kind": "Status", "reason": "NotFound"}'
        await client.delete(DENY, uid="u-1", version="7")
        assert json.loads(server.asked[0][3])["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}

    talk(tmp_path, {"token": "sesame"}, story)


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (409, '{"reason": "Conflict", "message": "m"}', ApiError),
        (502, "<html>bad gateway", ApiError),
        (200, "no json", Unreachable),
        (200, '["a list"]', Unreachable),
    ],
)
def test_an_answer_that_is_a_no_or_makes_no_sense_is_an_error(
    tmp_path: Path, status: int, text: str, error: type[Exception]
) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        server.status, server.text = status, text
        with pytest.raises(error):
            await client.apply(DENY, {})

    talk(tmp_path, {"token": "sesame"}, story)


def test_a_watch_reads_events_however_they_are_cut_and_however_long(tmp_path: Path) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        long = {"metadata": {"name": "n", "annotations": {"a": "x" * 5_000_000}}}
        lines = b"".join(
            json.dumps({"type": kind, "object": item}).encode() + b"\n"
            for kind, item in [("ADDED", long), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]
        )
        server.stream = [lines[:100], lines[100:]]
        events = [event async for event in client.watch(NAMESPACE, selector="a=b", version="1")]
        assert [event.type for event in events] == ["ADDED", "BOOKMARK"]
        assert len(events[0].item["metadata"]["annotations"]["a"]) == 5_000_000

    talk(tmp_path, {"token": "sesame"}, story)


@pytest.mark.parametrize("within", [True, False])
def test_an_expired_version_is_known_wherever_it_is_said(tmp_path: Path, within: bool) -> None:
    async def story(server: Server, client: KubeClient) -> None:
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        server.stream = [json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"]
        watch = client.watch(NAMESPACE, selector="a=b", version="1")
        if not within:
            server.status, server.text = 410, json.dumps(status)
        with pytest.raises(ApiError) as told:
            async for _ in watch if within else _get(client):
                pass
        assert expired(told.value)

    async def _get(client: KubeClient) -> Any:
        yield await client.get(DENY)

    talk(tmp_path, {"token": "sesame"}, story)
