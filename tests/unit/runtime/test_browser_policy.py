"""Browsers that do not keep a page to its own host: what a project says to them, and what it then does."""

from __future__ import annotations

import pytest
from sqlmodel import select

from broch_api.hub_login.requests import challenge_of
from broch_api.projects.service import ProjectRegister
from broch_api.signin.probe import probe_page
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.tables import AuditRecord
from broch_core.confinement import MISSING, UNKNOWN, BrowserPolicy, may_enter, shortcoming
from broch_core.errors import Denied, NotFound
from broch_core.lifecycles import WorkspaceStatus
from broch_core.web.guard import COOKIE
from unit.runtime.runtime_fakes import Plane

CALLBACK = "http://hub.broch.localhost:8001/hub/oauth_callback"


def enter(plane: Plane, *, confined: bool | None) -> str:
    """Sign in with a browser of a kind, go for the workspace; return where the hub is sent."""
    started = plane.world.sessions.start("ruth", kind="browser", confined=confined)
    browser = plane.api
    browser.cookies.set(COOKIE, started.token)
    asked = {
        "response_type": "code",
        "client_id": "hub",
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": challenge_of("v" * 43),
        "code_challenge_method": "S256",
        "principal": plane.row().principal,
    }
    answer = browser.get("/oauth/authorize", params=asked)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


@pytest.mark.parametrize(
    ("policy", "confined", "allowed"),
    [
        (policy, seen, policy != "refuse" or seen is True)
        for policy in BrowserPolicy
        for seen in (True, False, None)
    ],
)
def test_only_a_project_that_refuses_keeps_out_a_browser_that_lacks_the_header(
    plane: Plane, policy: BrowserPolicy, confined: bool | None, allowed: bool
) -> None:
    desk, project = plane.get(WorkspaceDesk), plane.world.project.id
    ada, ruth = plane.world.actor("ada"), plane.world.actor("ruth")
    ProjectRegister(plane.world.store).choose_browsers(ada, project, policy)
    desk.open(ruth, project)
    assert may_enter(policy, confined).allowed is allowed
    went = enter(plane, confined=confined)
    assert ("code=" in went) is allowed
    assert ("error=access_denied" in went) is not allowed
    assert shortcoming(confined) == {True: None, False: MISSING, None: UNKNOWN}[confined]


def test_refusing_browsers_stops_what_is_open_and_is_written_down(plane: Plane) -> None:
    desk, project = plane.get(WorkspaceDesk), plane.world.project.id
    desk.open(plane.world.actor("ruth"), project)
    register = ProjectRegister(plane.world.store)
    register.choose_browsers(plane.world.actor("ada"), project, BrowserPolicy.ALLOW)
    plane.settle()
    assert plane.row().status is WorkspaceStatus.STARTING
    register.choose_browsers(plane.world.actor("ada"), project, BrowserPolicy.REFUSE)
    plane.settle()
    assert plane.row().status in {WorkspaceStatus.STOPPING, WorkspaceStatus.STOPPED}
    with plane.world.store.read() as session:
        query = select(AuditRecord.facts).where(AuditRecord.action == "project:browser-policy")
        facts = session.exec(query.order_by(AuditRecord.id)).all()
    assert facts == [{"from": "warn", "to": "allow"}, {"from": "allow", "to": "refuse"}]


def test_only_an_admin_says_what_browsers_may_do(plane: Plane) -> None:
    register, project = ProjectRegister(plane.world.store), plane.world.project.id
    with pytest.raises(Denied):
        register.choose_browsers(plane.world.actor("ruth"), project, BrowserPolicy.ALLOW)
    with pytest.raises(NotFound):
        register.choose_browsers(plane.world.actor("sam"), project, BrowserPolicy.ALLOW)
    register.choose_browsers(plane.world.actor("ada"), project, BrowserPolicy.ALLOW)


def test_the_probe_page_may_connect_to_nothing_but_by_ignoring_the_header() -> None:
    said = probe_page().headers
    assert said["connection-allowlist"] == "()"
    assert "connect-src 'self'" in said["content-security-policy"]
    assert "frame-ancestors 'self'" in said["content-security-policy"]
