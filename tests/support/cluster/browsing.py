"""Browsers of people who sign in by the provider, against a release on the test cluster."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, FrameLocator, Page, Playwright, expect

from support.cluster.release import HUB, SHELL, SPACE, Release
from support.keycloak import Account

LAB_MS = 120_000
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_FETCH = """async ([method, path, body, type]) => {
  const headers = {"X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content};
  if (type) headers["Content-Type"] = type;
  const bytes = body === null ? undefined
    : type === "application/octet-stream" ? Uint8Array.from(atob(body), c => c.charCodeAt(0)) : body;
  const answer = await fetch(path, {method, headers, body: bytes});
  return [answer.status, await answer.text()];
}"""
_RUN = """async code => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const headers = {"X-XSRFToken": document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1]};
  const made = await fetch(base + "/api/kernels", {method: "POST", headers, body: "{}"});
  const kernel = `${base}/api/kernels/${(await made.json()).id}`;
  const socket = new WebSocket(`wss://${location.host}${kernel}/channels?session_id=cell`);
  await new Promise((open, broken) => { socket.onopen = open; socket.onerror = broken; });
  const id = crypto.randomUUID();
  const printed = await new Promise((done, broken) => {
    let text = "";
    socket.onclose = () => broken(new Error("the websocket closed early: " + text));
    socket.onmessage = frame => {
      const got = JSON.parse(frame.data);
      if (got.parent_header.msg_id !== id) return;
      if (got.msg_type === "stream") text += got.content.text;
      if (got.msg_type === "error") text += got.content.traceback.join("\\n");
      if (got.msg_type === "status" && got.content.execution_state === "idle") done(text);
    };
    socket.send(JSON.stringify({
      header: {msg_id: id, msg_type: "execute_request", session: "cell", username: "", date: "", version: "5.3"},
      parent_header: {}, metadata: {}, channel: "shell", buffers: [],
      content: {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false,
        stop_on_error: true}}));
  });
  socket.onclose = null;
  socket.close();
  await fetch(kernel, {method: "DELETE", headers});
  return printed;
}"""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Said(AssertionError):
    """The server refused; `str()` is what it said."""


def call(page: Page, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
    """Call the API as the person whose page it is; return the JSON of a success.

    Raises:
        Said: it was refused.
    """
    kind = "application/octet-stream" if raw is not None else "application/json" if body is not None else ""
    sent = (
        base64.b64encode(raw).decode() if raw is not None else json.dumps(body) if body is not None else None
    )
    status, text = page.evaluate(_FETCH, [method, path, sent, kind])
    if status >= 400:
        raise Said(f"{method} {path}: {status} {text[:600]}")
    return json.loads(text) if text else None


def eventually_called(page: Page, path: str, wanted: Mapping[str, str], seconds: float = 90) -> Any:
    """Read something until each field has one of its values (`|` between them); return it."""
    end = time.monotonic() + seconds
    while True:
        found = call(page, "GET", path)
        if all(found[name] in values.split("|") for name, values in wanted.items()):
            return found
        assert time.monotonic() < end, (
            f"{path}: { ({name: found[name] for name in wanted}) }, wanted {wanted}"
        )
        page.wait_for_timeout(300)


def pin(certificate: bytes) -> str:
    """Return the digest by which Chromium lets a certificate pass (RFC 7469, 2.4)."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return base64.b64encode(digest).decode()


@dataclass
class Desk:
    """Where people sit down and sign in."""

    release: Release
    browser: Browser
    _stack: ExitStack = field(default_factory=ExitStack)
    _pages: dict[str, Page] = field(default_factory=dict)
    _codes: dict[str, float] = field(default_factory=dict)

    def page(self, handle: str) -> Page:
        """Return somebody's page, signed in by the provider; the same one every time."""
        if handle not in self._pages:
            self._pages[handle] = self._sign_in(handle)
        return self._pages[handle]

    def _sign_in(self, handle: str) -> Page:
        context = self.browser.new_context(
            viewport={"width": 1280, "height": 860}, accept_downloads=True, locale="en-GB"
        )
        self._stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{SHELL}/")
        page.get_by_role("button", name=re.compile("Sign in with")).click()
        self.prove(page, self.release.people[handle])
        page.wait_for_url(f"{SHELL}/**")
        expect(page.get_by_role("navigation").first).to_be_visible()
        return page

    def prove(self, page: Page, account: Account) -> None:
        """Give the provider password and one-time code."""
        page.get_by_label("Username").fill(account.username)
        page.get_by_label("Password", exact=True).fill(account.password)
        page.get_by_role("button", name="Sign In").click()
        page.get_by_label("One-time code").fill(self._code(account))
        page.get_by_role("button", name="Sign In").click()

    def _code(self, account: Account) -> str:
        # A code counts once (RFC 6238, 5.2): who signed in within this half minute waits for the next one.
        now = time.time()
        if now // 30 == self._codes.get(account.username, 0.0) // 30:
            time.sleep(30 - now % 30 + 0.5)
        self._codes[account.username] = time.time()
        return account.code()

    def close(self) -> None:
        """Close every page."""
        self._stack.close()


@contextmanager
def running_desk(playwright: Playwright, release: Release) -> Iterator[Desk]:
    """Run Chromium for the time of a `with` block; it believes the release's certificates, and the provider's."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "Chromium is not installed. On Debian: apt-get install chromium"
    pins = [pin(release.keycloak.certificate.read_bytes())]
    for part in ("web", "hub"):
        held = release.cluster.get("secret", f"broch-{part}-tls", SPACE)["data"]["tls.crt"]
        pins.append(pin(base64.b64decode(held)))
    flags = [
        *_FLAGS,
        f"--host-resolver-rules={release.resolver_rules}",
        f"--ignore-certificate-errors-spki-list={','.join(pins)}",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's own sandbox refuses root
    expect.set_options(timeout=30_000)
    running = playwright.chromium.launch(executable_path=path, args=flags)
    sitting = Desk(release, running)
    try:
        yield sitting
    finally:
        sitting.close()
        running.close()


def await_lab(page: Page) -> FrameLocator:
    """Wait for Lab in the frame of a workspace's page."""
    lab = page.frame_locator("iframe")
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=LAB_MS)
    expect(lab.get_by_role("listitem", name=re.compile("project")).first).to_be_visible(timeout=LAB_MS)
    return lab


def run_cell(page: Page, code: str) -> str:
    """Run a cell in a kernel of its own in the notebook that a page shows; return what it printed, without colours."""
    frame = next(frame for frame in page.frames if "/user/" in frame.url)
    return _ANSI.sub("", str(frame.evaluate(_RUN, code)))


def keep_picture(page: Page, folder: Path, name: str) -> None:
    """Keep a screenshot for the documents, when asked to (BROCH_PICTURES=1)."""
    if os.environ.get("BROCH_PICTURES") == "1":
        page.screenshot(path=folder / f"{name}.png")


__all__ = [
    "HUB",
    "SHELL",
    "Desk",
    "Said",
    "await_lab",
    "call",
    "eventually_called",
    "keep_picture",
    "run_cell",
    "running_desk",
]
