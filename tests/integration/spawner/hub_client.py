"""A browser for the tests: cookies by host, names that lead to 127.0.0.1, and a kernel over its websocket."""

import json
import secrets
import time
import uuid
from urllib.parse import urljoin, urlsplit

import aiohttp
import httpx


class Browser:
    """Follows redirects over several hosts, as a browser does; `__Host-` and other cookies stay with their host."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=30, follow_redirects=False)
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
        target = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
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


def wait_for(what, check, seconds=30):
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


async def run_cell(browser, base, code):
    """Run one cell in a fresh kernel over the websocket and return what it printed."""
    parts = urlsplit(base)
    xsrf = browser.cookie(parts.hostname, "__Host-w-_xsrf")
    made = browser.call("POST", f"{base}api/kernels", json={"name": "python3"}, headers={"X-XSRFToken": xsrf})
    assert made.status_code == 201, made.text
    kernel = made.json()["id"]
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
        "Origin": f"http://{parts.netloc}",
    }
    url = f"ws://127.0.0.1:{parts.port}{parts.path}api/kernels/{kernel}/channels"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers, max_msg_size=0) as socket,
    ):
        await socket.send_str(json.dumps(message))
        async for frame in socket:
            got = json.loads(frame.data)
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if got["msg_type"] == "stream":
                printed += got["content"]["text"]
            if got["msg_type"] == "error":
                printed += "\n".join(got["content"]["traceback"])
            if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                return printed
    raise AssertionError(f"the websocket closed early: {printed}")
