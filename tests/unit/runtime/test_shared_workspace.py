"""The workspace that members of a project share: allowed by policy, entered and left by each alone, without a door."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from broch_airlock.door.keeper import NO_DOOR, DoorKeeper
from broch_api.datasets.grants import GrantDesk
from broch_api.projects.members import MemberRegister
from broch_api.projects.service import ProjectRegister
from broch_api.revocations.watch import RevocationWatch
from broch_api.signin.service import SessionDesk
from broch_api.workspaces.reconciler import Reconciler
from broch_api.workspaces.rights import SHARED_NOT_ALLOWED, StayFacts, stay_end
from broch_api.workspaces.service import WorkspaceDesk
from broch_api.workspaces.shared import SharedDesk
from broch_core.actors import ProjectRole
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Denied, NotFound, Unauthenticated
from broch_core.lifecycles import ProjectEvent, WorkspaceStatus
from broch_core.tables.datasets import Grant
from broch_core.tables.people import Person, UserSession
from broch_core.tables.projects import Membership
from broch_core.tables.revocations import Revocation
from broch_core.tables.workspaces import Entrant, LoginCode, Workspace
from broch_core.web.sessions import token_hash
from unit.runtime.runtime_fakes import HUB_HEADERS, Plane
from unit.runtime.runtime_steps import edit, report
from unit.runtime.test_hub_login import Browser, redeem, userinfo

S = WorkspaceStatus


def allow(plane: Plane, *, allowed: bool = True) -> None:
    register = ProjectRegister(plane.world.store)
    register.allow_shared(plane.world.actor("ada"), plane.world.project.id, allowed=allowed)


def desk(plane: Plane) -> SharedDesk:
    found: SharedDesk = plane.get(SharedDesk)
    return found


def running(plane: Plane) -> str:
    """Have the shared workspace running, opened by ruth; return its principal."""
    allow(plane)
    desk(plane).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.settle()
    principal = plane.row().principal
    answer = plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    assert answer.status_code == 200, answer.text
    plane.hub.run(principal)
    report(plane, "running")
    assert plane.row().status is S.RUNNING
    return principal


def enter(plane: Plane, handle: str) -> tuple[Browser, str]:
    """Sign somebody in to the shared workspace; return the browser and the hub's user of this stay."""
    browser = Browser(plane, handle)
    token = redeem(plane, browser.authorize()["code"]).json()["access_token"]
    told = userinfo(plane, token).json()
    return browser, str(told["sub"])


def stays(plane: Plane) -> list[Entrant]:
    with plane.world.store.read() as session:
        return list(session.exec(select(Entrant).order_by(Entrant.id)))


def records(plane: Plane, *actions: str) -> list[tuple[str, str]]:
    with plane.world.store.read() as session:
        people = {person.id: person.handle for person in session.exec(select(Person))}
        rows = session.exec(select(AuditRecord).order_by(AuditRecord.id)).all()
    return [(row.action, people.get(row.actor_id, row.actor_id)) for row in rows if row.action in actions]


def present(plane: Plane, handle: str = "ruth") -> list[str]:
    view = desk(plane).view(plane.world.actor(handle), plane.world.project.id)
    return [one.handle for one in view.present]


def remove(plane: Plane, handle: str) -> None:
    with plane.world.store.read() as session:
        row = session.exec(
            select(Membership).where(
                Membership.project_id == plane.world.project.id,
                Membership.person_id == plane.world.people[handle].id,
            )
        ).one()
    MemberRegister(plane.world.store).remove(plane.world.actor("ada"), plane.world.project.id, row.id)


def test_there_is_none_unless_an_admin_allows_it(plane: Plane) -> None:
    project, ruth = plane.world.project.id, plane.world.actor("ruth")
    assert not desk(plane).view(ruth, project).allowed
    with pytest.raises(Conflict, match=SHARED_NOT_ALLOWED):
        desk(plane).open(ruth, project)
    with pytest.raises(Denied):
        ProjectRegister(plane.world.store).allow_shared(ruth, project, allowed=True)
    allow(plane)
    assert desk(plane).open(ruth, project).status is S.STARTING
    assert records(plane, "project:shared-workspace", "shared:open") == [
        ("project:shared-workspace", "ada"),
        ("shared:open", "ruth"),
    ]


def test_who_is_no_member_does_not_learn_of_it(plane: Plane) -> None:
    running(plane)
    project, sam = plane.world.project.id, plane.world.actor("sam")
    for act in (desk(plane).view, desk(plane).open, desk(plane).leave, desk(plane).stop):
        with pytest.raises(NotFound):
            act(sam, project)
    said = Browser(plane, "sam").authorize()
    assert said["error"] == "access_denied"
    assert "code" not in said


def test_it_has_no_home_no_door_and_all_else_of_the_project(plane: Plane) -> None:
    allow(plane)
    desk(plane).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.settle()
    plan = plane.inside.get(f"/internal/v1/spawn-plans/{plane.row().principal}", headers=HUB_HEADERS).json()
    assert plan["shared"]
    assert plan["home"] is None
    assert plan["door_token"] == ""
    targets = {mount["target"]: mount["read_only"] for mount in plan["mounts"]}
    assert targets == {"/data/cohort": True, "/imports": True, "/project": False}


@pytest.mark.parametrize("shared", [True, False])
def test_the_door_stays_shut_for_it(plane: Plane, shared: bool) -> None:
    person = None if shared else plane.world.people["ruth"].id
    row = Workspace(
        project_id=plane.world.project.id,
        person_id=person,
        status=S.RUNNING,
        deadline_at=utc_now() + timedelta(hours=1),
        door_token_hash=token_hash("token"),
    )
    plane.world.add(row)
    keeper = DoorKeeper(plane.world.store)
    if shared:
        with pytest.raises(Denied, match=NO_DOOR[:40]):
            keeper.caller("token")
    else:
        assert keeper.caller("token").workspace_id == row.id
    with pytest.raises(Unauthenticated):
        keeper.caller("another")


def test_each_member_enters_as_a_user_of_the_hub_for_this_stay_alone(plane: Plane) -> None:
    principal = running(plane)
    browser, guest = enter(plane, "ruth")
    assert guest != principal
    assert guest in plane.hub.users
    token = redeem(plane, browser.authorize()["code"]).json()["access_token"]
    assert userinfo(plane, token).json() == {"sub": guest, "name": "Ruth", "enters": principal}
    _, other = enter(plane, "robin")
    assert other not in (guest, principal)
    assert present(plane) == ["ruth", "robin"]
    assert records(plane, "shared:enter") == [("shared:enter", "ruth"), ("shared:enter", "robin")]
    # Another browser of the same person is another stay.
    _, second = enter(plane, "ruth")
    assert second != guest
    assert present(plane) == ["ruth", "robin"]


def test_it_is_not_entered_while_it_does_not_run(plane: Plane) -> None:
    allow(plane)
    desk(plane).open(plane.world.actor("ruth"), plane.world.project.id)
    said = Browser(plane, "ruth").authorize()
    assert said["error"] == "access_denied"
    assert stays(plane) == []


def test_a_hub_that_is_away_lets_nobody_in_and_counts_nobody(plane: Plane) -> None:
    running(plane)
    plane.hub.down()
    said = Browser(plane, "ruth").authorize()
    assert said["error"] == "temporarily_unavailable"
    assert present(plane) == []
    plane.hub.up()
    enter(plane, "ruth")
    assert present(plane) == ["ruth"]


def test_leaving_ends_one_stay_and_the_others_go_on(plane: Plane) -> None:
    principal = running(plane)
    ruth, hers = enter(plane, "ruth")
    _, his = enter(plane, "robin")
    actor = plane.world.sessions.actor(ruth.token)
    assert actor is not None
    assert desk(plane).view(actor, plane.world.project.id).inside
    desk(plane).leave(actor, plane.world.project.id)
    plane.settle()
    assert present(plane) == ["robin"]
    assert hers not in plane.hub.users
    assert {his, principal} <= plane.hub.users
    assert plane.row().status is S.RUNNING
    assert records(plane, "shared:leave") == [("shared:leave", "ruth")]
    _, again = enter(plane, "ruth")
    assert again != hers, "no user of the hub comes back"


def test_signing_out_ends_the_stay_and_not_the_workspace(plane: Plane) -> None:
    running(plane)
    ruth, hers = enter(plane, "ruth")
    enter(plane, "robin")
    actor = plane.world.sessions.actor(ruth.token)
    assert actor is not None
    SessionDesk(plane.world.store, plane.world.sessions).end(actor)
    assert present(plane, "robin") == ["robin"]
    plane.settle()
    assert hers not in plane.hub.users
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING


def test_who_never_comes_to_the_hub_is_not_said_to_be_in_it(plane: Plane) -> None:
    """A link of anybody's begins a sign-in, and a tab may be closed in the middle of one."""
    running(plane)
    enter(plane, "ruth")
    assert "code" in Browser(plane, "robin").authorize()
    plane.get(Reconciler).round()
    assert present(plane) == ["ruth", "robin"], "robin may still be on the way"
    edit(plane, LoginCode, expires_at=utc_now() - timedelta(seconds=1))
    plane.get(Reconciler).round()
    assert present(plane) == ["ruth"]
    assert records(plane, "shared:leave") == [("shared:leave", "system")]
    plane.settle()
    assert {stay.principal for stay in stays(plane) if stay.left_at}.isdisjoint(plane.hub.users)


def test_a_page_that_is_closed_for_long_ends_the_stay(plane: Plane) -> None:
    running(plane)
    _, hers = enter(plane, "ruth")
    for changed in (True, False):
        answer = plane.inside.post(f"/internal/v1/stays/{hers}/left", json={}, headers=HUB_HEADERS)
        assert answer.json() == {"changed": changed}
    assert present(plane) == []


def test_the_hub_is_told_which_stays_go_on(plane: Plane) -> None:
    running(plane)
    _, hers = enter(plane, "ruth")
    _, his = enter(plane, "robin")
    remove(plane, "robin")
    body = {"principals": [hers, his, "w" + "x" * 25]}
    answer = plane.inside.post("/internal/v1/stays/standing", json=body, headers=HUB_HEADERS)
    assert answer.json() == {"principals": [hers]}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (UserSession, {"expires_at": utc_now() - timedelta(seconds=1)}),
        (UserSession, {"ended_at": utc_now()}),
        (Membership, {"until": utc_now() - timedelta(seconds=1)}),
        (Person, {"disabled_at": utc_now()}),
        (Workspace, {"status": S.STOPPING}),
    ],
)
def test_the_hub_is_told_of_an_end_that_nobody_has_written_down_yet(
    plane: Plane, kind: type, values: dict[str, object]
) -> None:
    running(plane)
    _, hers = enter(plane, "ruth")

    def standing() -> list[str]:
        answer = plane.inside.post(
            "/internal/v1/stays/standing", json={"principals": [hers]}, headers=HUB_HEADERS
        )
        return list(answer.json()["principals"])

    assert standing() == [hers]
    edit(plane, kind, **values)
    assert present(plane, "ada") == ["ruth"]
    assert standing() == []


def test_it_is_not_offered_where_it_would_be_refused(plane: Plane) -> None:
    world = plane.world
    ruth = world.actor("ruth")
    assert desk(plane).view(ruth, world.project.id).closed == SHARED_NOT_ALLOWED
    allow(plane)
    assert desk(plane).view(ruth, world.project.id).closed is None
    ProjectRegister(world.store).move(world.actor("ada"), world.project.id, ProjectEvent.FREEZE)
    assert "frozen" in str(desk(plane).view(ruth, world.project.id).closed)


def test_who_is_removed_is_put_out_by_a_saga_and_the_others_go_on(plane: Plane) -> None:
    principal = running(plane)
    _, hers = enter(plane, "ruth")
    _, his = enter(plane, "robin")
    remove(plane, "robin")
    assert present(plane) == ["ruth"]
    with plane.world.store.read() as session:
        begun = session.exec(select(Revocation)).one()
    assert [start["principal"] for start in begun.starts] == [his]
    plane.get(RevocationWatch).round()
    assert his not in plane.hub.users
    assert {hers, principal} <= plane.hub.users
    with plane.world.store.read() as session:
        assert session.exec(select(Revocation)).one().done_at is not None
    assert plane.row().status is S.RUNNING
    assert plane.row().door_token_hash is not None
    assert "error" in Browser(plane, "robin").authorize()


def test_a_membership_that_runs_out_ends_the_stay_within_a_round(plane: Plane) -> None:
    running(plane)
    enter(plane, "ruth")
    _, his = enter(plane, "robin")
    plane.get(Reconciler).round()
    assert present(plane) == ["ruth", "robin"]
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.exec(
            select(Membership).where(Membership.person_id == plane.world.people["robin"].id)
        ).one()
        row.until = utc_now() - timedelta(seconds=1)
        change.session.add(row)
    plane.get(Reconciler).round()
    plane.settle()
    assert present(plane) == ["ruth"]
    assert his not in plane.hub.users
    with plane.world.store.read() as session:
        assert session.exec(select(Revocation)).one().cause == "member-expired"


def test_a_session_that_grew_old_ends_its_stay(plane: Plane) -> None:
    running(plane)
    enter(plane, "ruth")
    edit(plane, UserSession, expires_at=utc_now() - timedelta(seconds=1))
    plane.get(Reconciler).round()
    assert present(plane) == []
    assert plane.row().status is S.RUNNING


@pytest.mark.parametrize("act", ["freeze", "grant", "policy", "lead stops"])
def test_what_ends_for_the_project_ends_it_for_all(plane: Plane, act: str) -> None:
    principal = running(plane)
    _, hers = enter(plane, "ruth")
    world = plane.world
    if act == "freeze":
        ProjectRegister(world.store).move(world.actor("ada"), world.project.id, ProjectEvent.FREEZE)
    elif act == "grant":
        with world.store.read() as session:
            grant = session.exec(select(Grant)).one()
        GrantDesk(world.store).revoke(world.actor("owen"), grant.id)
    elif act == "policy":
        allow(plane, allowed=False)
    else:
        with pytest.raises(Denied):
            desk(plane).stop(world.actor("robin"), world.project.id)
        edit(plane, Membership, role=ProjectRole.LEAD)
        desk(plane).stop(world.actor("robin"), world.project.id)
    assert plane.row().status is S.STOPPING
    assert plane.row().door_token_hash is None
    assert all(stay.left_at is not None for stay in stays(plane))
    plane.settle()
    plane.get(Reconciler).round()
    plane.settle()
    assert plane.row().status is S.STOPPED
    assert {principal, hers}.isdisjoint(plane.hub.users)


def test_it_and_one_s_own_workspace_know_nothing_of_each_other(plane: Plane) -> None:
    running(plane)
    world = plane.world
    plane.get(WorkspaceDesk).open(world.actor("ruth"), world.project.id)
    own = plane.get(WorkspaceDesk).list(world.actor("ruth"), before=None, limit=9).items
    assert [row.person.handle for row in own] == ["ruth"]
    everybody = plane.get(WorkspaceDesk).list(world.actor("ada"), before=None, limit=9).items
    assert sorted(row.person.handle if row.person else "" for row in everybody) == ["", "ruth"]
    desk(plane).stop(world.actor("ada"), world.project.id)
    assert own[0].status is S.STARTING


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"member": False}, "no longer a member"),
        ({"session_ended": True}, "the session has ended"),
        ({"runs": False}, "the workspace has ended"),
        ({"came": False}, "nobody came"),
        ({"member": False, "runs": False}, "no longer a member"),
    ],
)
def test_a_stay_goes_on_while_nothing_of_it_ended(facts: dict[str, bool], reason: str | None) -> None:
    whole = {"member": True, "session_ended": False, "runs": True, "came": True} | facts
    assert stay_end(StayFacts(**whole)) == reason
