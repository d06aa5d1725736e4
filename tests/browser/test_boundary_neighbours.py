"""What a page in one workspace can do to another workspace, the hub, the shell and the viewer: nothing.

The browser meets no wall here (policies and `Connection-Allowlist` are taken out on the way), so that what says no is the
server that is asked, and the browser's own rules between origins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, Response, expect

from support.boundary_rig import rig
from support.running import RunningBroch, client

from .conftest import FLAGS
from .pages import (
    LAB_MS,
    add_person,
    add_project,
    await_lab,
    principal_running,
    said,
    slug_of,
    stop_workspace,
)

PERSON, OTHER = "Nadia Brandt", "Omar Diallo"


@dataclass
class Street:
    """Two open workspaces of one person, one of somebody else, in one browser."""

    context: BrowserContext
    page: Page
    mine: Frame
    """A page on the host of the first workspace, on which everything is tried."""
    neighbour: Page
    """The shell's page that frames the second workspace of the same person."""
    people: list[str]
    """Ids of this person and of the other."""
    theirs: str
    """Base address of somebody else's workspace."""

    @property
    def next_door(self) -> Frame:
        """Lab of the second workspace."""
        return next(frame for frame in self.neighbour.frames if "/lab" in frame.url)


def base_of(frame: Frame) -> str:
    """Return the base address of the workspace that a frame shows."""
    return re.sub(r"/lab.*", "/", frame.url)


@pytest.fixture(scope="module")
def street(
    browser: Browser, broch: RunningBroch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Street]:
    people = [add_person(broch, name) for name in (PERSON, OTHER)]
    ids = [add_project(broch, name, [PERSON, OTHER]) for name in ("First door", "Second door")]
    principal = principal_running(broch, OTHER, ids[0])
    with rig(tmp_path_factory.mktemp("rig"), (broch.port, broch.port + 1), browser, FLAGS) as outside:
        outside.wall("off")
        with outside.profile("street") as context:
            context.set_default_timeout(30_000)
            page, neighbour = context.pages[0], context.new_page()
            page.goto(broch.shell)
            page.get_by_role("button", name=PERSON).click()
            page.get_by_role("heading", name="Who are you today?").wait_for(state="detached")
            for one, project_id in ((neighbour, ids[1]), (page, ids[0])):
                one.goto(f"{broch.shell}/projects/{project_id}")
                one.get_by_role("button", name="Open workspace").click()
                await_lab(one)
            mine = next(frame for frame in page.frames if "/lab" in frame.url)
            theirs = f"http://{principal}.hub.broch.localhost:{broch.port + 1}/user/{principal}/"
            yield Street(context, page, mine, neighbour, people, theirs)
    for name in (PERSON, OTHER):
        stop_workspace(broch, name)


ASK = """async ([url, method, mode, body]) => {
  const how = {method, mode, credentials: 'include', cache: 'no-store'};
  if (body) how.body = body;
  const token = (document.cookie.match(/\\b_xsrf=([^;]*)/) || [])[1];
  if (mode === 'cors' && token && new URL(url, location).origin === location.origin) how.headers = {'X-XSRFToken': token};
  try { const answer = await fetch(url, how); return [answer.type, answer.status, (await answer.text()).length]; }
  catch (error) { return ['refused', 0, 0]; }
}"""


def ask(
    frame: Frame | Page, url: str, method: str = "GET", mode: str = "cors", body: str | None = None
) -> Any:
    """Send a request with the frame's cookies; return what its script gets to see: type, status, bytes."""
    return frame.evaluate(ASK, [url, method, mode, body])


def test_a_page_reads_nothing_of_a_neighbour_and_its_requests_are_accepted_nowhere(
    street: Street, broch: RunningBroch
) -> None:
    mine, next_door = street.mine, base_of(street.next_door)
    hub, viewer = (
        f"http://hub.broch.localhost:{broch.port + 1}",
        f"http://viewer.broch.localhost:{broch.port}",
    )
    answers: list[Response] = []
    street.context.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 (Playwright writes on it)
    with client(broch, slug_of(PERSON)) as api:
        running = said(api.get("/api/v1/workspaces"))["items"]
    stop = f"{broch.shell}/workspaces/{running[0]['id']}/stop"
    # Controls: each page has what is its own, by the very same call.
    assert ask(mine, base_of(mine) + "api/contents")[:2] == ["basic", 200]
    assert ask(mine, base_of(mine) + "api/contents", "POST", body='{"type": "file"}')[:2] == ["basic", 201]
    assert ask(street.next_door, next_door + "api/contents")[:2] == ["basic", 200]
    assert ask(street.page, f"{broch.shell}/api/v1/workspaces")[:2] == ["basic", 200]
    answers.clear()

    reads = [
        *(
            f"{base}{path}"
            for base in (next_door, street.theirs)
            for path in ("api/contents", "lab", "api/status")
        ),
        *(
            f"{hub}{path}"
            for path in ("/hub/api/user", "/hub/login", "/hub/logout", "/hub/home", "/hub/static/js/x")
        ),
        *(f"{broch.shell}/{path}" for path in ("api/v1/workspaces", "projects", "healthz")),
        f"{viewer}/view",
    ]
    writes = [
        *((f"{base}api/contents", '{"type": "file"}') for base in (next_door, street.theirs)),
        *((f"{base}api/kernels", "{}") for base in (next_door, street.theirs)),
        (f"{hub}/hub/login", "username=x"),
        (f"{hub}/hub/api/oauth2/authorize", "scopes=self"),
        (f"{broch.shell}/theme", "theme=dark"),
        (f"{broch.shell}/sign-out", "csrf_token=x"),
        (f"{broch.shell}/sign-in", "person=sunniva"),
        (f"{broch.shell}/api/v1/sessions", '{"handle": "sunniva"}'),
        (stop, "csrf_token=x"),
        (f"{viewer}/view", "ticket=" + "A" * 43),
    ]
    for url in reads:
        for mode in ("cors", "no-cors"):
            assert ask(mine, url, mode=mode)[0] != "basic", url
            assert ask(mine, url, mode=mode)[2] == 0, url
    for url, body in writes:
        for mode in ("cors", "no-cors"):
            assert ask(mine, url, "POST", mode, body)[2] == 0, url
    sockets = mine.evaluate(
        """(bases) => Promise.all(bases.map((base) => new Promise((done) => {
             const s = new WebSocket(base.replace('http', 'ws') + 'api/events/subscribe');
             s.onopen = () => { s.close(); done('opened'); }; s.onerror = () => done('refused'); })))""",
        [base_of(mine), next_door, street.theirs],
    )
    assert sockets == ["opened", "refused", "refused"]
    street.page.wait_for_timeout(300)
    accepted = {
        (answer.request.method, answer.url)
        for answer in answers
        if answer.status < 400
        and answer.request.method == "POST"
        and not answer.url.startswith(base_of(mine))
    }
    assert accepted == set()
    # Neither did they do anything: one file was made, here, and no kernel next door.
    made = [path.parent.name for path in (broch.folder / "zones").rglob("untitled*")]
    assert [name for name in made if name in street.people] == street.people[:1]
    assert ask(street.next_door, next_door + "api/kernels") == ["basic", 200, len("[]")]
    assert ask(street.page, f"{broch.shell}/api/v1/workspaces")[:2] == ["basic", 200]
    with client(broch, slug_of(PERSON)) as api:
        assert {row["status"] for row in said(api.get("/api/v1/workspaces"))["items"]} == {"running"}


def test_a_page_cannot_reach_into_a_neighbour_that_it_frames(street: Street) -> None:
    reached = street.mine.evaluate(
        """async ([own, other]) => { const out = [];
           for (const src of [own, other]) {
             const f = document.createElement('iframe'); f.src = src; document.body.append(f);
             await new Promise((done) => { f.onload = done; setTimeout(done, 5000); });
             let what = 'nothing';
             try { document.domain = 'hub.broch.localhost'; } catch (e) { }
             try { what = f.contentWindow.document.body ? 'document' : 'nothing'; } catch (e) { }
             try { f.contentWindow.localStorage; what += ' storage'; } catch (e) { }
             out.push(what); f.remove();
           } return out; }""",
        [base_of(street.mine) + "api", base_of(street.next_door) + "api"],
    )
    assert reached == ["document storage", "nothing"]


TOSSED = (
    "__Host-broch",
    "__Host-jupyterhub-hub-login",
    "__Host-w-_xsrf",
    "_xsrf",
    "jupyterhub-session-id",
    "broch",
)


def test_a_cookie_set_for_all_hosts_is_taken_for_their_own_by_none(
    street: Street, broch: RunningBroch
) -> None:
    own = [cookie["name"] for cookie in street.context.cookies()]
    assert own
    assert all(name.startswith("__Host-") for name in own)
    street.mine.evaluate(
        """(names) => { for (const name of names) for (const domain of ['broch.localhost', 'hub.broch.localhost'])
             document.cookie = `${name}=tossed; domain=${domain}; path=/; secure`; }""",
        list(TOSSED),
    )
    tossed = {cookie["name"] for cookie in street.context.cookies() if cookie["value"] == "tossed"}
    assert tossed == {name for name in TOSSED if not name.startswith("__Host-")}
    # Everything goes on: a fresh sign-in to the other workspace, a change there by Lab's own token, the shell.
    street.neighbour.reload()
    await_lab(street.neighbour)
    made = ask(street.next_door, base_of(street.next_door) + "api/contents", "POST", body='{"type": "file"}')
    assert made[:2] == ["basic", 201]
    assert ask(street.page, f"{broch.shell}/api/v1/workspaces")[:2] == ["basic", 200]


def test_too_many_cookies_end_in_a_clear_error_with_a_remedy(street: Street, broch: RunningBroch) -> None:
    street.mine.evaluate(
        """() => { for (let i = 0; i < 40; i++)
             document.cookie = `big${i}=${'b'.repeat(3900)}; domain=broch.localhost; path=/`; }"""
    )
    page = street.context.new_page()
    answer = page.goto(f"{broch.shell}/projects")
    assert answer is not None
    assert answer.status == 431
    assert "remove the cookies of this site" in json.loads(answer.text())["remedy"]
    answer = page.goto(f"http://hub.broch.localhost:{broch.port + 1}/hub/login")
    assert answer is not None
    assert answer.status == 400
    assert "remove the cookies of this site" in answer.text()
    # The remedy.
    street.context.clear_cookies()
    page.goto(f"{broch.shell}/projects")
    expect(page.get_by_role("heading", name="Who are you today?")).to_be_visible(timeout=LAB_MS)
    page.close()
