"""Workspaces end with the sessions that entered them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlmodel import select

from broch_api.people.sign_out import SignOuts
from broch_api.signin.service import SessionDesk
from broch_api.workspaces.reconciler import Reconciler
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Denied, NotFound
from broch_core.lifecycles import WorkspaceStatus
from broch_core.tables.people import UserSession
from broch_core.tables.workspaces import LoginCode
from unit.runtime.runtime_fakes import Plane
from unit.runtime.runtime_steps import edit, running
from unit.runtime.test_hub_login import Browser, redeem

S = WorkspaceStatus


def entered(plane: Plane) -> Browser:
    """Return a browser of ruth's that entered her workspace."""
    browser = Browser(plane, "ruth")
    assert redeem(plane, browser.authorize()["code"]).status_code == 200
    return browser


def sign_out(plane: Plane, browser: Browser) -> None:
    actor = plane.world.sessions.actor(browser.token)
    assert actor is not None
    SessionDesk(plane.world.store, plane.world.sessions).end(actor)


def test_signing_out_stops_the_workspace_that_was_entered_and_ends_its_sign_ins(plane: Plane):
    principal = running(plane)
    browser = entered(plane)
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    sign_out(plane, browser)
    assert plane.row().status is S.STOPPING
    assert plane.row().door_token_hash is None
    plane.settle()
    assert plane.row().status is S.STOPPED
    assert "session" in (plane.row().message or "")
    assert principal not in plane.hub.users


def test_signing_out_elsewhere_leaves_a_workspace_that_was_not_entered_from_there(plane: Plane):
    running(plane)
    entered(plane)
    sign_out(plane, Browser(plane, "ruth"))
    sign_out(plane, Browser(plane, "ada"))
    plane.settle()
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING


def test_a_start_is_not_judged_by_the_sessions_of_an_earlier_one(plane: Plane):
    running(plane)
    sign_out(plane, entered(plane))
    plane.settle()
    running(plane)
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING


@pytest.mark.parametrize(
    "change", [{"expires_at": utc_now() - timedelta(seconds=1)}, {"ended_at": utc_now()}]
)
def test_a_session_that_expired_or_was_revoked_ends_the_workspace_within_a_round(
    plane: Plane, change: dict[str, object]
):
    running(plane)
    entered(plane)
    with plane.world.store.write(housekeeping=True) as unit:
        for row in unit.session.exec(select(UserSession)).all():
            for name, value in change.items():
                setattr(row, name, value)
            unit.session.add(row)
    plane.get(Reconciler).round()
    plane.settle()
    assert plane.row().status is S.STOPPED
    assert "session" in (plane.row().message or "")


def test_an_administrator_ends_every_session_of_somebody_and_nobody_elses(plane: Plane):
    """The provider may have forgotten a session that goes on here."""
    running(plane)
    entered(plane)
    elsewhere, ada = Browser(plane, "ruth"), Browser(plane, "ada")
    outs, admin = SignOuts(plane.world.store), plane.world.actor("ada")
    assert outs.everywhere(admin, "ruth") >= 2
    assert plane.row().status is S.STOPPING
    assert plane.world.sessions.actor(elsewhere.token) is None
    assert plane.world.sessions.actor(ada.token) is not None
    plane.settle()
    assert plane.row().status is S.STOPPED
    assert outs.everywhere(admin, "ruth") == 0
    with plane.world.store.read() as session:
        query = select(AuditRecord.facts).where(AuditRecord.action == "person:sign-out")
        told = session.exec(query.order_by(AuditRecord.id)).all()
    assert [facts["sessions"] > 0 for facts in told] == [True, False]
    with pytest.raises(NotFound):
        outs.everywhere(admin, "nobody")
    with pytest.raises(Denied):
        outs.everywhere(plane.world.actor("ruth"), "ada")


def test_signing_out_ends_a_workspace_that_was_entered_days_ago(plane: Plane):
    running(plane)
    browser = entered(plane)
    edit(plane, LoginCode, expires_at=utc_now() - timedelta(days=2))
    Browser(plane, "ruth").authorize()
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    sign_out(plane, browser)
    assert plane.row().status is S.STOPPING


@pytest.mark.parametrize("over", ["expires_at", "ended_at"])
def test_codes_go_when_they_say_nothing_any_more(plane: Plane, over: str):
    running(plane)
    entered(plane)  # redeemed
    Browser(plane, "ruth").authorize()  # not redeemed
    ages = utc_now() - timedelta(days=2)
    edit(plane, LoginCode, expires_at=ages)
    Browser(plane, "ruth").authorize()
    with plane.world.store.read() as session:
        codes = session.exec(select(LoginCode)).all()
    assert [(code.expires_at < utc_now(), code.redeemed_at is not None) for code in sorted_by_end(codes)] == [
        (True, True),
        (False, False),
    ]
    edit(plane, UserSession, **{over: ages})
    Browser(plane, "ruth").authorize()
    with plane.world.store.read() as session:
        codes = session.exec(select(LoginCode)).all()
    assert not [code for code in codes if code.expires_at < utc_now()]


def sorted_by_end(codes: Sequence[LoginCode]) -> list[LoginCode]:
    return sorted(codes, key=lambda code: code.expires_at)
