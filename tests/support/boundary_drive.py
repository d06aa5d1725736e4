"""Tries every probe at every place of a workspace, as its own malicious researcher would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Error, Frame, Locator, Page, expect

from support import boundary_probes as probes
from support.boundary_probes import Ports
from support.boundary_rig import Rig

PORTS = Ports(
    20000, ("page", "output", "widget", "extension", "trusted", *(f"{n}.answer" for n in probes.ANSWERS))
)
SETTLE_MS = 2500
"""How long the last packets of a batch may take; every control arrives within it."""
LEAVE_MS = 350
SLOW_MS = {"service-worker": 1500}
MOST_WAITS = 12

NOT_THERE = {
    "form-in-frame.trusted": "Lab's frame for HTML files has no forms",
}
"""Techniques that a place refuses by itself, wall or not: there is nothing to try."""


KNOWN_TO_ARRIVE = {"click-alt.page"}
"""What gets through the whole wall, not each time: alt and a click have the browser itself save what a link leads to."""


def expected() -> list[tuple[str, str]]:
    """Return every probe: technique and place."""
    scripted = [(name, place) for place in PORTS.places[:5] for name in probes.SCRIPTS]
    own = [(name, "page") for table in (probes.LEAVING, probes.HEADERS, probes.GESTURES) for name in table]
    marked = [("markup-" + name, place) for place in ("output", "preview") for name in probes.MARKUP]
    marked += [("markup-" + name, "markdown") for name in probes.IN_MARKDOWN]
    through = [(name, f"{a}.answer") for a in probes.ANSWERS for name in (*probes.THROUGH, "location")]
    clicks = [("click", "markdown"), ("click-ctrl", "markdown"), ("click", "pdf")]
    return [pair for pair in (*scripted, *own, *marked, *through, *clicks) if ".".join(pair) not in NOT_THERE]


Found = dict[str, set[str]]
"""Kinds of arrivals by the name of the probe."""


class Visit:
    """One sign-in of the researcher, with the wall in one state."""

    def __init__(self, rig: Rig, page: Page, address: str, lab_ms: int, bare: str = "") -> None:
        self._rig, self._page, self._address, self._lab_ms = rig, page, address, lab_ms
        self._bare = bare
        self._crashed = False
        self._mark = rig.mark()
        self._base = ""

    def _frame(self) -> Frame:
        return next(frame for frame in self._page.frames if frame.parent_frame is not None)

    def lab(self) -> None:
        """Look at everything in Lab."""
        page, lab = self._page, self._page.frame_locator("iframe").first
        page.goto(self._address)
        expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=self._lab_ms)
        self._base = re.sub(r"/lab.*", "/", self._frame().url)
        files = lab.get_by_role("listitem")
        files.filter(has_text="probes.ipynb").dblclick(timeout=self._lab_ms)
        expect(lab.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=self._lab_ms)
        lab.get_by_role("menuitem", name="Run").click()
        lab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        expect(lab.locator(".widget-html")).to_be_visible(timeout=self._lab_ms)
        self._click(lab.get_by_role("link", name="go", exact=True))
        self._click(lab.get_by_role("link", name="gone", exact=True), modifiers=["Control"])
        files.filter(has_text="preview.html").dblclick()
        trust = lab.get_by_role("button", name="Trust HTML")
        expect(trust).to_be_visible(timeout=self._lab_ms)
        page.wait_for_timeout(LEAVE_MS)
        trust.click()
        files.filter(has_text="paper.pdf").dblclick()
        paper = lab.locator(".jp-PDFContainer, .jp-PDFViewer").first
        expect(paper).to_be_visible(timeout=self._lab_ms)
        page.wait_for_timeout(1000)
        self._click(paper)

    def _click(self, what: Locator, **how: Any) -> None:
        what.click(no_wait_after=True, **how)
        self._page.wait_for_timeout(LEAVE_MS)
        self._page.bring_to_front()

    def page_of_own(self) -> None:
        """Try what a page of the researcher's own can: all at once, then what takes it away, one by one."""
        self._own()
        self._do(probes.script(probes.SCRIPTS, "page", PORTS))
        for name in probes.ANSWERS:
            self._do(probes.through_answer(name, re.sub(r"^https?://[^/]*", "", self._base), PORTS))
        # The browser opens one WebSocket after another: they lead to the same address (RFC 6455, 4.1).
        self._await_all((name, f"{answer}.answer") for answer in probes.ANSWERS for name in probes.THROUGH)
        for name in probes.ANSWERS:
            self._do(probes.away_from_answer(name, PORTS))
        self._await_all(("location", f"{answer}.answer") for answer in probes.ANSWERS)
        for name, code in probes.LEAVING.items():
            self._own()
            self._do(probes.script({name: code}, "page", PORTS))
            self._await(name)
        for name, said in probes.HEADERS.items():
            self._own()
            query = urlencode(
                {
                    key: text.replace("{U}", f"http://{probes.address(name, 'page')}/")
                    for key, text in said.items()
                }
            )
            self._do(f"location = '{self._bare or self._base + 'own'}?{query}'")
            self._await(name)
        for name, (code, gesture) in probes.GESTURES.items():
            self._own()
            self._do(probes.script({name: code}, "page", PORTS))
            self._gesture(gesture)
            self._await(name)
        self._settle(SETTLE_MS)

    def _own(self) -> None:
        if self._crashed:
            self._page, self._crashed = self._page.context.new_page(), False
            self._page.set_default_timeout(20_000)
        for other in self._page.context.pages:
            if other is not self._page:
                other.close()
        answer = None
        for attempt in range(MOST_WAITS):
            try:
                if not self._page.url.startswith(self._address):
                    self._page.goto(self._address, wait_until="commit")
                    self._page.locator("iframe").first.wait_for()
                answer = self._frame().goto(self._base + "own")
            except Error as error:  # a probe before may still be on its way elsewhere, and take all with it
                on_its_way = "interrupted" in str(error) or "detached" in str(error)
                if not on_its_way or attempt == MOST_WAITS - 1:
                    raise
                self._page.wait_for_timeout(LEAVE_MS)
            else:
                break
        assert answer is not None
        assert answer.status == 200, "the researcher's own server does not answer"

    def _do(self, code: str) -> None:
        # The page may be gone before it has answered.
        try:
            self._frame().evaluate(code)
        except Error as error:
            self._crashed = "crash" in str(error)
            if not (self._crashed or "destroyed" in str(error) or "detached" in str(error)):
                raise

    def _settle(self, milliseconds: float) -> None:
        try:
            self._page.wait_for_timeout(milliseconds)
        except Error as error:
            if "crash" not in str(error):
                raise
            self._crashed = True

    def _await(self, technique: str) -> None:
        """Give a probe its time; where it must arrive, the time that this takes."""
        self._settle(SLOW_MS.get(technique, LEAVE_MS))
        self._await_arrival({probes.address(technique, "page")})

    def _await_all(self, tried: Iterable[tuple[str, str]]) -> None:
        """Give many probes, as technique and place, their time."""
        self._settle(SETTLE_MS)
        self._await_arrival({probes.address(*probe) for probe in tried})

    def _await_arrival(self, names: set[str]) -> None:
        for _ in range(MOST_WAITS if self._bare else 0):
            if names <= arrivals(self._rig, self._mark).keys():
                break
            self._settle(LEAVE_MS)

    def _gesture(self, gesture: str) -> None:
        link = self._frame().locator("#go")
        acts: Mapping[str, Callable[[], Any]] = {
            "click": lambda: link.click(no_wait_after=True),
            "middle": lambda: link.click(button="middle"),
            "press": lambda: (link.hover(), self._page.mouse.down()),
        }
        acts.get(gesture, lambda: link.click(modifiers=[gesture]))()  # type: ignore[list-item]
        if gesture == "press":
            self._settle(LEAVE_MS)
            self._page.mouse.move(1, 1)
            self._page.mouse.up()


def arrivals(rig: Rig, mark: int) -> Found:
    """Return what arrived of all probes since a mark."""
    found: Found = {}
    for arrival in rig.since(mark):
        name = PORTS.name_of(int(arrival.name)) if arrival.kind == "udp" else arrival.name
        if name and name.endswith(probes.ZONE):
            found.setdefault(name, set()).add(arrival.kind)
    return found


@contextmanager
def visit(rig: Rig, wall: str, enter: Callable[[Page], str], lab_ms: int) -> Iterator[Visit]:
    """Sign in with the wall in a state; `enter` returns the address of the page that frames the workspace."""
    rig.wall(wall)
    with rig.profile(wall) as context:
        page = context.pages[0]
        page.set_default_timeout(20_000)
        bare = f"http://bare.{probes.ZONE}/" if wall == "off" else ""
        yield Visit(rig, page, enter(page), lab_ms, bare)


def observe(rig: Rig, wall: str, enter: Callable[[Page], str], lab_ms: int) -> Found:
    """Try everything with the wall in one state; return what arrived."""
    mark = rig.mark()
    with visit(rig, wall, enter, lab_ms) as here:
        here.lab()
        here.page_of_own()
    return arrivals(rig, mark)
