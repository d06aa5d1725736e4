"""A browser in a running workspace, with a kernel's websocket that stays open."""

import asyncio
import json
import secrets
import time
import uuid
from urllib.parse import urlsplit

import aiohttp

from broch_core.web.guard import COOKIE
from integration.spawner.hub_client import Browser


def enter(broch, row, token):
    """Return a browser that went from the shell's page into the workspace of `row`, and the address of its Lab."""
    browser = Browser()
    browser.set("broch.localhost", COOKIE, token)
    answer, url, way = browser.get(row["url"])
    assert answer.status_code == 200, (answer.status_code, way, answer.text[:500], broch.logs())
    assert "jupyter-config-data" in answer.text, way
    return browser, url.partition("/lab")[0] + "/"


class KernelSocket:
    """One kernel and its websocket; a task reads until somebody closes it."""

    def __init__(self, browser, base) -> None:
        self._browser, self._base = browser, base
        self._answers = {}
        self._session = self._socket = self._reader = None
        self.closed_at = None
        """`time.monotonic()` of the end of the websocket."""

    def headers(self):
        parts = urlsplit(self._base)
        cookies = self._browser.cookies(parts.hostname)
        return {"Host": parts.netloc, "Cookie": cookies, "Origin": f"http://{parts.netloc}"}

    async def open(self):
        parts = urlsplit(self._base)
        xsrf = self._browser.cookie(parts.hostname, "__Host-w-_xsrf")
        made = await asyncio.to_thread(
            self._browser.call,
            "POST",
            f"{self._base}api/kernels",
            json={"name": "python3"},
            headers={"X-XSRFToken": xsrf},
        )
        assert made.status_code == 201, made.text
        self.url = f"ws://127.0.0.1:{parts.port}{parts.path}api/kernels/{made.json()['id']}/channels"
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(self.url, headers=self.headers(), max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for frame in self._socket:
            got = json.loads(frame.data)
            waiting, printed = self._answers.get(got["parent_header"].get("msg_id"), (None, None))
            if waiting is None or waiting.done():
                continue
            if got["msg_type"] == "stream":
                printed.append(got["content"]["text"])
            if got["msg_type"] == "error":
                printed.append("\n".join(got["content"]["traceback"]))
            if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                waiting.set_result("".join(printed))
        self.closed_at = time.monotonic()

    async def run(self, code, seconds=60):
        """Run a cell; return what it printed."""
        message = {
            "header": {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": secrets.token_hex(),
                       "username": "", "date": "", "version": "5.3"},
            "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
            "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                        "allow_stdin": False, "stop_on_error": True},
        }  # fmt: skip
        waiting = asyncio.get_running_loop().create_future()
        self._answers[message["header"]["msg_id"]] = (waiting, [])
        await self._socket.send_str(json.dumps(message))
        return await asyncio.wait_for(waiting, seconds)

    async def cut(self, seconds):
        """Wait until the other side ends the websocket; return when that was."""
        await asyncio.wait_for(self._reader, seconds)
        return self.closed_at

    async def refused(self):
        """Try to connect again; return the status of the refusal."""
        try:
            again = await self._session.ws_connect(self.url, headers=self.headers())
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await again.close()
        return 101

    async def close(self):
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._browser.close()
