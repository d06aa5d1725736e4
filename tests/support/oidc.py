"""A control plane that signs people in by a provider, behind a real TLS listener, and people without a browser."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import uvicorn

from broch_api import assembly_governance as assembly
from broch_core.audit.denials import DenialLog
from broch_core.settings import Settings
from broch_core.web.app import make_app, static_files
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions
from support.cluster.authority import Files
from support.keycloak import Account
from support.worlds import World, make_world

HOST = "127.0.0.1"
SAME = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
_FORM = re.compile(r"<form\b[^>]*\baction=\"([^\"]+)\"[^>]*>(.*?)</form>", re.DOTALL)
_INPUT = re.compile(r"<input\b[^>]*>")
_ATTRIBUTE = re.compile(r'\b(name|value|type)="([^"]*)"')


@dataclass
class ControlPlane:
    """Sign-in, people and the first page, as browsers and the provider meet them."""

    world: World
    services: dict[type, Any]
    origin: str

    def service(self, kind: type[Any]) -> Any:
        return self.services[kind]


def make_control_plane(folder: Path, port: int, **given: Any) -> tuple[ControlPlane, Any]:
    """Make one on a fresh world, and its app.

    Args:
        folder: empty.
        port: that it will be served on.
        given: settings of the provider; the secret comes as `secret`.
    """
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets" / "oidc").write_text(given.pop("secret"))
    origin = f"https://{HOST}:{port}"
    world = make_world(folder)
    settings = Settings(
        folder=folder, demo=False, public_url=origin, secrets=folder / "secrets", port=port, **given
    )
    world.settings = settings
    services = assembly.make_services(world.store, settings, world.sessions)
    services[Sessions] = world.sessions
    services[DenialLog] = DenialLog(world.store)
    services[Pages] = Pages(world.sessions, ["broch_api"], nav=assembly.nav(), banner=None, facts={})
    app = make_app(
        "Broch", "Test.", assembly.routers(), services=services, shell_origin=origin, docs_prefix="/api/v1"
    )
    app.mount("/static", static_files())
    policy = shell_policy("https://hub.test", "https://viewer.test")
    return ControlPlane(world, services, origin), ShellHeaders(app, hosts=[f"{HOST}:{port}"], policy=policy)


@contextmanager
def served(folder: Path, port: int, certificate: Files, **given: Any) -> Iterator[ControlPlane]:
    """Serve a control plane over TLS for the time of a `with` block."""
    plane, app = make_control_plane(folder, port, **given)
    config = uvicorn.Config(
        app,
        host=HOST,
        port=port,
        ssl_certfile=str(certificate.certificate),
        ssl_keyfile=str(certificate.key),
        log_level="warning",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        yield plane
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        plane.world.store.engine.dispose()


@dataclass(frozen=True)
class Form:
    """A form of a page."""

    action: str
    fields: Mapping[str, str]


def forms_of(page: httpx.Response) -> list[Form]:
    """Return the forms of a page, with the values that they hold."""
    found = []
    for action, body in _FORM.findall(page.text):
        inputs = [dict(_ATTRIBUTE.findall(tag)) for tag in _INPUT.findall(body)]
        fields = {one["name"]: unescape(one.get("value", "")) for one in inputs if "name" in one}
        found.append(Form(urljoin(str(page.url), unescape(action)), fields))
    return found


@dataclass
class Person:
    """Somebody who fills in forms; keeps cookies as a browser would."""

    plane: ControlPlane
    authority: Path
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            verify=ssl.create_default_context(cafile=self.authority), follow_redirects=False, timeout=60
        )

    def leave(self, next_: str = "/", confined: str = "yes") -> str:
        """Press the button on the sign-in page; return the address at the provider."""
        page = self.http.get(f"{self.plane.origin}/sign-in", params={"next": next_}, headers=SAME)
        assert page.status_code == 200, page.text
        form = next(form for form in forms_of(page) if form.action.endswith("/sign-in"))
        fields = {**form.fields, "confined": confined}
        gone = self.http.post(form.action, data=fields, headers=SAME)
        return self.next_stop(gone)

    def provider_asks(self, address: str, account: Account) -> httpx.Response:
        """Give the provider the password; return what it asks or answers next."""
        page = self.http.get(address)
        return self.submit(page, {"username": account.username, "password": account.password})

    def provider_says(self, address: str, account: Account, *, code: str | None = None) -> str:
        """Sign in at the provider; return the address that it sends the browser back to."""
        page = self.provider_asks(address, account)
        if page.status_code == 200 and account.otp_secret is not None:
            page = self.submit(page, {"otp": code or account.code()})
        assert page.status_code in {302, 303}, page.text
        return str(page.headers["location"])

    def submit(self, page: httpx.Response, given: dict[str, str]) -> httpx.Response:
        """Fill in the form of the provider's page that has these fields, and follow it as long as it stays there."""
        assert page.status_code == 200, (page.status_code, page.text)
        form = next(form for form in forms_of(page) if given.keys() & form.fields.keys())
        answer = self.http.post(form.action, data={**form.fields, **given})
        while answer.status_code in {302, 303} and not answer.headers["location"].startswith(
            self.plane.origin
        ):
            answer = self.http.get(urljoin(str(answer.url), answer.headers["location"]))
        return answer

    def post_form(self, form: Form) -> httpx.Response:
        """Send a form of Broch's as it is."""
        return self.http.post(form.action, data=form.fields, headers=SAME)

    @staticmethod
    def next_stop(page: httpx.Response) -> str:
        """Return where a page of Broch's goes on to by itself."""
        assert page.status_code == 200, page.text
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.text)
        assert found is not None
        return unescape(found.group(1))

    def come_back(self, address: str) -> httpx.Response:
        """Bring the provider's answer to Broch."""
        return self.http.get(address, headers={"Accept": "text/html"})

    def sign_in(self, account: Account, next_: str = "/", *, code: str | None = None) -> httpx.Response:
        """Go the whole way; return Broch's last answer."""
        return self.come_back(self.provider_says(self.leave(next_), account, code=code))

    def get(self, path: str) -> httpx.Response:
        return self.http.get(self.plane.origin + path, headers=SAME)

    def session(self) -> dict[str, Any]:
        """Return what Broch says of the session."""
        answer = self.http.get(f"{self.plane.origin}/api/v1/sessions/current")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def signed_in(self) -> bool:
        return self.http.get(f"{self.plane.origin}/api/v1/sessions/current").status_code == 200


def query_of(address: str) -> dict[str, str]:
    """Return the query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def becomes(check: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait until `check` says yes; tell whether it did."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
