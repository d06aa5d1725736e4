"""Ways out of a page: none arrives unaided. Each has a control that does (docs/probes-page.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from broch_spawner import headers
from support import boundary_table
from support.boundary_drive import KNOWN_TO_ARRIVE, PORTS, arrivals, expected, observe
from support.boundary_files import files
from support.boundary_probes import ZONE, address
from support.boundary_rig import Rig, rig
from support.counts import NIGHTLY
from support.running import RunningBroch

from .conftest import FLAGS
from .pages import LAB_MS, add_person, add_project, principal_running, put_in_zone, stop_workspace

DOCUMENT = Path(__file__).parents[2] / "docs" / "probes-page.md"
UPDATE = os.environ.get("BROCH_PROBES") == "1"
PERSON = "Mallory Finch"


@pytest.fixture(scope="module")
def outside(browser: Browser, broch: RunningBroch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    flags = [flag for flag in FLAGS if flag not in {"--disable-quic", "--disable-background-networking"}]
    with rig(tmp_path_factory.mktemp("rig"), (broch.port, broch.port + 1), browser, flags) as made:
        yield made


@pytest.fixture(scope="module")
def project(broch: RunningBroch) -> Iterator[str]:
    """A project whose member has put every hostile file into the home folder."""
    person, project_id = add_person(broch, PERSON), add_project(broch, "Ways out", [PERSON])
    for path, content in files(PORTS).items():
        folder, _, name = path.rpartition("/")
        put_in_zone(broch, f"{project_id}/home/{person}/{folder}".rstrip("/"), name, content)
    yield project_id
    stop_workspace(broch, PERSON)


@pytest.mark.parametrize(
    ("status", "host", "path", "more"),
    [
        (400, "", "/" + "a" * 9000, {}),
        (400, "", "/", {"X-Long": "a" * 9000}),
        (400, "", "/", {"Cookie": "__Host-a=" + "a" * 9000}),
        (403, "", "/user/{name}/files/x", {}),
        (403, "", "/user/{name}/nbconvert/html/x", {}),
        (403, "", "/user/{name}/lab", {"Sec-Fetch-Dest": "document"}),
        (403, "", "/user/{name}/lab", {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-site"}),
        (403, "", "/user/{name}/sw.js", {"Service-Worker": "script"}),
        (404, "", "/hub/login", {}),
        (421, "elsewhere.example", "/", {}),
        (421, "x.{name}.hub.broch.localhost", "/", {}),
        (503, "w" + "z" * 24 + ".hub.broch.localhost", "/user/x/lab", {}),
    ],
)
def test_every_answer_of_the_proxy_itself_is_a_dead_end(
    broch: RunningBroch, project: str, status: int, host: str, path: str, more: dict[str, str]
) -> None:
    name = principal_running(broch, PERSON, project)
    host = (host or "{name}.hub.broch.localhost").format(name=name)
    answer = httpx.get(
        f"http://127.0.0.1:{broch.port + 1}{path.format(name=name)}",
        headers={"Host": f"{host}:{broch.port + 1}", **more},
        trust_env=False,
    )
    assert answer.status_code == status
    found = dict(answer.headers)
    for header, value in headers.own_headers():
        assert found[header.lower()] == value
    assert "set-cookie" not in found


def test_nothing_gets_out_of_a_page_unaided_through_the_whole_wall(
    outside: Rig, broch: RunningBroch, project: str, browser: Browser
) -> None:
    here = f"{broch.shell}/projects/{project}"

    def enter(page: Page) -> str:
        page.goto(broch.shell)
        page.get_by_role("button", name=PERSON).click()
        page.get_by_role("heading", name="Who are you today?").wait_for(state="detached")
        page.goto(here)
        page.get_by_role("link", name="Enter workspace").or_(
            page.get_by_role("button", name="Open workspace")
        ).click()
        page.locator("iframe").wait_for(timeout=LAB_MS)
        return f"{here}/workspace"

    mark = outside.mark()
    walls = ("on", "no allow-list", "off") if NIGHTLY or UPDATE else ("on", "off")
    found = {wall: observe(outside, wall, enter, LAB_MS) for wall in walls}
    assert arrivals(outside, mark)
    probes = expected()
    if any(address(*probe) not in found["off"] for probe in probes):
        # A busy machine is late with one now and then. The controls get another try; what the wall must hold does not.
        for name, kinds in observe(outside, "off", enter, LAB_MS).items():
            found["off"].setdefault(name, set()).update(kinds)
    silent = [".".join(probe) for probe in probes if address(*probe) not in found["off"]]
    assert silent == [], "these controls did not arrive, so their probes say nothing"
    if UPDATE:
        DOCUMENT.write_text(boundary_table.table(probes, found, browser.version))
    text = DOCUMENT.read_text()
    assert boundary_table.listed(text) == {(name, place.removesuffix(".answer")) for name, place in probes}
    if "no allow-list" in found:
        said = boundary_table.allowed(text)
        more = [
            ".".join(probe)
            for probe in probes
            if address(*probe) in found["no allow-list"]
            and said[(probe[0], probe[1].removesuffix(".answer"))] == "-"
        ]
        assert more == [], "the document does not say that these arrive without the allow-list"
    assert {name.removesuffix(f".{ZONE}") for name in found["on"]} <= KNOWN_TO_ARRIVE
