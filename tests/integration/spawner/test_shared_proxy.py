"""The proxy before a shared workspace whose server lets everybody in: only stays pass, and each is cut alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from broch_spawner.entrances import COOKIE, ENTER
from integration.spawner.proxy_stage import BASE, OWN, PLACE, SHARED, stage

HERS, HIS = "w" + "h" * 25, "w" + "i" * 25


def test_nobody_passes_whatever_the_server_behind_would_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, SHARED) as on:
            on.entrances.admit(HERS, PLACE)
            for cookie in ("", f"{COOKIE}={HERS}", f"{COOKIE}={HERS}.{'0' * 64}"):
                assert (await on.get(f"{BASE}lab", cookie))[0] == 403
            assert (await on.get(f"{ENTER}?code=guessed"))[0] == 403
            # Nor by the name that the routing table holds it under.
            assert (await on.get(f"{BASE}lab", host=f"shared.{on.host}"))[0] == 421
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await on.connect("")
            assert on.seen == []
            cookie = await on.enter(HERS)
            assert (await on.get(f"{BASE}lab", cookie))[0] == 200
            assert on.seen == [""], "the server behind never sees what proves a stay"

    asyncio.run(story())


@pytest.mark.parametrize(
    "told",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_no_page_brings_another_s_ticket_to_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    """A cell's output runs as a script in everybody's browser: it must not change whose stay that browser shows."""

    async def story() -> None:
        async with stage(tmp_path, monkeypatch, SHARED) as on:
            on.entrances.admit(HIS, PLACE)
            address = f"http://127.0.0.1:{on.port}{ENTER}?code={on.entrances.ticket(HIS)}"
            sign_in = {
                "Sec-Fetch-Site": "same-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "iframe",
            }
            for headers, status in ((told, 403), (sign_in, 302), (sign_in, 403)):
                sent = on.headers() | headers
                async with on.session.get(address, headers=sent, allow_redirects=False) as answer:
                    assert answer.status == status
                    assert ("Set-Cookie" in answer.headers) is (status == 302)

    asyncio.run(story())


def test_one_s_own_workspace_needs_no_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, OWN) as on:
            status, cookie = await on.get(f"{BASE}lab")
            assert (status, cookie) == (200, ""), "and no server sets the cookie of a stay"

    asyncio.run(story())


def test_who_is_put_out_is_cut_at_once_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, SHARED) as on:
            hers, his = await on.enter(HERS), await on.enter(HIS)
            of_hers, of_his = await on.connect(hers), await on.connect(his)
            for socket in (of_hers, of_his):
                await socket.send_str("there?")
                assert await socket.receive_str(timeout=20) == "there?"
            slow = await on.session.get(f"http://127.0.0.1:{on.port}{BASE}slow", headers=on.headers(his))
            assert slow.status == 200
            on.entrances.end(HIS)
            assert (await of_his.receive(timeout=20)).type in (
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.ERROR,
            )
            with pytest.raises(aiohttp.ClientError):
                await asyncio.wait_for(slow.read(), 20)
            assert (await on.get(f"{BASE}lab", his))[0] == 403
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await on.connect(his)
            await of_hers.send_str("still?")
            assert await of_hers.receive_str(timeout=20) == "still?"
            assert (await on.get(f"{BASE}lab", hers))[0] == 200
            await asyncio.sleep(0.3)  # the next part of his download finds that nobody takes it
            # The end of the workspace cuts who is left.
            await on.proxy.delete_route(SHARED)
            assert (await of_hers.receive(timeout=20)).type is not aiohttp.WSMsgType.TEXT
            assert (await on.get(f"{BASE}lab", hers))[0] == 503

    asyncio.run(story())
