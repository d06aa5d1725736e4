"""Sessions end because Keycloak says so, over a real back channel, and workspaces end with them."""

from __future__ import annotations

import ssl
import time
from datetime import timedelta

import httpx
import pytest
from sqlmodel import select

from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.lifecycles import WorkspaceStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.tables.people import UserSession
from broch_core.tables.workspaces import LoginCode, Workspace
from support.oidc import becomes


def entered(estate, person) -> Workspace:
    """Let somebody run a workspace that their session entered, as rows say it."""
    session = person.session()
    world = estate.plane.world
    now = utc_now()
    row = Workspace(
        project_id=world.project.id,
        person_id=session["person"]["id"],
        status=WorkspaceStatus.RUNNING,
        opened_at=now - timedelta(minutes=1),
        deadline_at=now + timedelta(hours=1),
        door_token_hash=session["id"],
    )
    world.add(row)
    world.add(
        LoginCode(
            code_hash=session["id"],
            session_id=session["id"],
            principal=row.principal,
            client_id="hub",
            redirect_uri="https://hub.test/hub/oauth_callback",
            challenge="x",
            expires_at=now,
            redeemed_at=now,
        )
    )
    return row


def test_a_logout_at_the_provider_ends_the_session_and_stops_its_workspace(estate):
    account, neighbour = estate.account(), estate.account()
    person, other = estate.person(), estate.person()
    person.sign_in(account)
    other.sign_in(neighbour)
    session = person.session()
    mine, theirs = entered(estate, person), entered(estate, other)
    began = time.monotonic()
    estate.admin.user_logout(account.id)
    assert becomes(lambda: not person.signed_in())
    assert time.monotonic() - began < 30
    with estate.plane.world.store.read() as rows:
        assert rows.get_one(Workspace, mine.id).status is WorkspaceStatus.STOPPING
        assert rows.get_one(Workspace, mine.id).door_token_hash is None
        assert rows.get_one(Workspace, theirs.id).status is WorkspaceStatus.RUNNING
        stops = [
            entry.payload
            for entry in rows.exec(select(OutboxEntry).where(OutboxEntry.kind == "workspace.stop"))
        ]
        record = rows.exec(
            select(AuditRecord).where(
                AuditRecord.action == "session:end", AuditRecord.subject_id == session["id"]
            )
        ).one()
    assert [stop["workspace_id"] for stop in stops].count(mine.id) == 1
    assert record.facts["by"] == "provider"
    assert other.signed_in()


def test_one_of_two_sessions_of_a_person_ends_alone(estate):
    account = estate.account()
    first, second = estate.person(), estate.person()
    first.sign_in(account)
    second.sign_in(account, code=account.code_of_the_next())
    with estate.plane.world.store.read() as rows:
        sid = rows.get_one(UserSession, first.session()["id"]).idp_session
    address = f"{estate.provider.origin}/admin/realms/broch/sessions/{sid}"
    token = estate.admin.connection.token["access_token"]
    trusted = ssl.create_default_context(cafile=estate.provider.authority)
    with httpx.Client(verify=trusted) as admin:
        assert admin.delete(address, headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert becomes(lambda: not first.signed_in())
    assert second.signed_in()


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_logout_token_ends_nothing(estate, token):
    person = estate.person()
    person.sign_in(estate.account())
    answer = estate.person().http.post(
        f"{estate.plane.origin}/sign-in/back-channel-logout", data={"logout_token": token}
    )
    assert answer.status_code in {400, 422}
    assert person.signed_in()


def test_a_page_cannot_send_a_logout_token_by_somebodys_browser(estate):
    person = estate.person()
    person.sign_in(estate.account())
    answer = person.http.post(
        f"{estate.plane.origin}/sign-in/back-channel-logout", data={"logout_token": "a.b.c"}
    )
    assert answer.status_code == 403
    assert person.signed_in()
