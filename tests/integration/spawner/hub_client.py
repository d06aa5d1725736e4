"""A browser for the tests: cookies by host, names that lead to one address, and a kernel over its websocket."""

import asyncio
import json
import secrets
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import aiohttp
import httpx


class Browser:
    """Follows redirects over several hosts, as a browser does; `__Host-` and other cookies stay with their host."""

    def __init__(self, address="127.0.0.1", context=None) -> None:
        """Make one whose every name leads to `address`, believing the authorities of an SSL `context`."""
        self.address, self.context = address, context
        self._client = httpx.Client(timeout=30, follow_redirects=False, verify=context or True)
        self._cookies = {}

    def cookies(self, host):
        """Cookie header for a host."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.get(host, {}).items())

    def set(self, host, name, value):
        self._cookies.setdefault(host, {})[name] = value

    def cookie(self, host, name):
        return self._cookies.get(host, {}).get(name)

    def call(self, method, url, **more):
        parts = urlsplit(url)
        headers = {"Host": parts.netloc, "Cookie": self.cookies(parts.hostname), **more.pop("headers", {})}
        target = parts._replace(netloc=f"{self.address}:{parts.port}").geturl()
        answer = self._client.request(method, target, headers=headers, **more)
        self._client.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.split(";")[0].partition("=")
            self.set(parts.hostname, name, value.strip('"'))
        return answer

    def get(self, url, **more):
        """Follow redirects; return the last answer, its address and every address on the way."""
        way = []
        for _ in range(20):
            way.append(url)
            answer = self.call("GET", url, **more)
            if answer.status_code not in (301, 302, 303, 307):
                return answer, url, way
            url = urljoin(url, answer.headers["location"])
        raise AssertionError(f"too many redirects: {way}")

    def close(self):
        self._client.close()


def admin(run_dir, method, path, token):
    """Call the hub's API on its socket as the service `web`."""
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(run_dir / "hub" / "hub.sock")), timeout=60
    ) as client:
        return client.request(
            method, f"http://hub/hub/api{path}", headers={"Authorization": f"token {token}"}
        )


def wait_for(what, check, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            found = check()
        except (OSError, httpx.HTTPError):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"timed out waiting for {what}")


def within(seconds, coroutine):
    """Run a coroutine to its end in a thread of its own: Playwright's loop may run in the one of the tests."""
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(asyncio.run, asyncio.wait_for(coroutine, seconds)).result()


def make_kernel(browser, base):
    """Have a kernel started; return its id."""
    xsrf = browser.cookie(urlsplit(base).hostname, "__Host-w-_xsrf")
    made = browser.call("POST", f"{base}api/kernels", json={"name": "python3"}, headers={"X-XSRFToken": xsrf})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def run_cell(browser, base, code, kernel=None, until=None):
    """Run one cell over the websocket, in a fresh kernel if none is named, and return what it printed.

    With `until` hang up as soon as it printed that, and leave it running.
    """
    parts = urlsplit(base)
    kernel = kernel or make_kernel(browser, base)
    message = {
        "header": {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": secrets.token_hex(),
                   "username": "", "date": "", "version": "5.3"},
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                    "allow_stdin": False, "stop_on_error": True},
    }  # fmt: skip
    printed = ""
    headers = {
        "Host": parts.netloc,
        "Cookie": browser.cookies(parts.hostname),
        "Origin": f"{parts.scheme}://{parts.netloc}",
    }
    scheme = "wss" if parts.scheme == "https" else "ws"
    url = f"{scheme}://{browser.address}:{parts.port}{parts.path}api/kernels/{kernel}/channels"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers, max_msg_size=0, ssl=browser.context or True) as socket,
    ):
        await socket.send_str(json.dumps(message))
        async for frame in socket:
            got = json.loads(frame.data)
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if got["msg_type"] == "stream":
                printed += got["content"]["text"]
                if until is not None and until in printed:
                    return printed
            if got["msg_type"] == "error":
                printed += "\n".join(got["content"]["traceback"])
            if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                return printed
    raise AssertionError(f"the websocket closed early: {printed}")
