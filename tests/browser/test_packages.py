"""From a lead's lock file to what the project may install, by the pages alone; the registry is the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from broch.instance import Instance
from broch.run_folder import prepare
from broch.web import make_shell
from broch_api.packages.lookups import PackageLookups
from broch_api.packages.registry import PackageRegistry
from broch_core.actors import PlatformRole
from broch_core.audit.log import AuditLog
from broch_core.lifecycles import AllowanceStatus
from broch_core.proof import KeyFolder
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.sessions import Sessions
from support.package_lists import (
    ROUTE,
    FakeRoute,
    listed,
    nominated,
    package,
    people_of_lists,
    requirement,
    use_registry,
)
from support.ports import free_port
from support.worlds import World

from .test_accessibility import VENDOR, violations


@dataclass
class House:
    """A control plane with a package route, and the people who use it."""

    origin: str
    world: World
    lookups: PackageLookups
    page: Page

    def enter(self, handle: str) -> None:
        """Sign in as somebody, whoever it was before."""
        self.page.context.clear_cookies()
        self.page.goto(self.origin)
        self.page.locator(f"button[value='{handle}']").click()
        self.page.get_by_role("navigation", name="Main").wait_for()

    def sound(self) -> None:
        """See that the page as it stands keeps the rules, in light and dark."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            assert violations(self.page) == [], self.page.url


@pytest.fixture
def house(browser: Browser, tmp_path: Path) -> Iterator[House]:
    settings = Settings(folder=tmp_path, demo=True, port=free_port())
    prepare(settings.run)
    instance = Instance(settings)
    services, store = instance.services, instance.services[Store]
    route = FakeRoute()
    route.add(package("lifelines"), package("closed", licence="Proprietary"), package("lifeline"))
    use_registry(services, store, settings, PackageRegistry(ROUTE, transport=httpx.MockTransport(route)))
    world = World(tmp_path, settings, store, services[Sessions], services[KeyFolder], services[AuditLog])
    world.add_person("ada", PlatformRole.ADMIN)
    world.project = world.add_project("alpha")
    people_of_lists(world)
    shell = make_shell(instance.apps(), settings)
    server = uvicorn.Server(
        uvicorn.Config(shell, port=settings.port, log_config=None, lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 860})
    context.add_init_script(path=VENDOR / "axe.min.js")
    page = context.new_page()
    yield House(settings.shell_origin, world, services[PackageLookups], page)
    context.close()
    server.should_exit = True
    thread.join(timeout=10)
    store.engine.dispose()


def test_a_lead_asks_by_lock_file_and_an_admin_allows_it(house: House, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("\n".join([requirement("lifelines"), requirement("closed")]))
    page, project = house.page, house.world.project.id
    house.enter("lena")
    page.goto(f"{house.origin}/projects/{project}")
    page.get_by_role("link", name="Packages and addresses").click()
    expect(page.get_by_text("No packages of its own")).to_be_visible()
    page.get_by_role("link", name="Ask for packages").first.click()
    page.get_by_role("button", name="Lock file").set_input_files(lock)
    house.sound()
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("table", name="Packages of the lock file")).to_contain_text("lifelines 1.0.0")
    house.sound()
    page.get_by_label("Why").fill("Survival curves.")
    page.get_by_role("button", name="Ask for all that is new").click()
    expect(page.get_by_text("2 are asked for; 0 were known before.")).to_be_visible()
    expect(page.get_by_text("0 of 2")).to_be_visible()
    house.sound()
    house.lookups.step({})

    house.enter("ada")
    page.get_by_role("link", name="Packages").click()
    page.get_by_label("Choose lifelines 1.0.0").check()
    house.sound()
    page.get_by_role("button", name="Allow the chosen").click()
    expect(page.get_by_text("lifelines 1.0.0 may be installed from now on.")).to_be_visible()
    page.get_by_role("link", name="closed 1.0.0").click()
    house.sound()
    page.get_by_label("Why it is declined").fill("Nobody has a licence.")
    page.get_by_role("button", name="Decline").click()
    expect(page.get_by_text("closed 1.0.0 is declined.")).to_be_visible()

    house.enter("lena")
    page.goto(f"{house.origin}/projects/{project}/packages")
    expect(page.get_by_text("pip install lifelines==1.0.0")).to_be_visible()
    house.sound()


def test_one_version_is_shown_before_it_is_allowed_and_a_near_name_is_told(house: House) -> None:
    page, world = house.page, house.world
    listed(world, "lifelines", "ada", AllowanceStatus.ALLOWED, None)
    nominated(world, "genes", "lena", AllowanceStatus.PROPOSED, world.project.id)
    house.enter("ada")
    page.goto(f"{house.origin}/packages/new")
    for label, value in {"Name": "lifeline", "Version": "1.0.0", "Why": "A slip."}.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Look it up").click()
    expect(page.get_by_text("It looks like lifelines, which is on the list.")).to_be_visible()
    house.sound()
    page.goto(f"{house.origin}/projects/{world.project.id}/packages")
    house.sound()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("'genes' may be read from now on.")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/packages", "/packages/new", f"/projects/{world.project.id}/packages"):
        page.goto(house.origin + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
