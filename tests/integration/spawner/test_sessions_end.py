"""Whatever ends a right cuts the open websocket and ends the workspace: files stay, neighbours go on (design, rule 8)."""

import asyncio
import contextlib
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from integration.spawner.kernel_socket import KernelSocket, enter
from integration.up.up_acts import await_ready, got, project_of, sandboxes, until, workspace
from support.counts import count
from support.running import client, running_broch

LIMIT_SECONDS = 60
"""What the issue allows; each takes a few seconds."""
MINE, THEIRS = ("ada", "tumour-texture"), ("mateo", "honest-odds")
WORK = """
import os
for place in (os.path.expanduser("~/work.txt"), "/project/work.txt"):
    with open(place, "a") as file: file.write("MARK\\n")
import pathlib; print(pathlib.Path.home().joinpath("work.txt").read_text().split())
"""


@pytest.fixture(scope="module")
def broch(tmp_path_factory):
    with running_broch(tmp_path_factory.mktemp("ends")) as running:
        await_ready(running)
        yield running


class Person:
    """Somebody with a session, a running workspace, and a kernel's websocket in it."""

    def __init__(self, broch, handle, slug) -> None:
        self.broch, self.slug = broch, slug
        self.api = client(broch, handle)
        self.token = self.api.headers["Authorization"].split()[1]
        self.project = project_of(self.api, slug)
        self.row = self.socket = None

    async def work(self, mark):
        """Open the workspace, enter it, and write a line to both folders that are kept; return all lines there."""
        before = set(sandboxes(self.broch))
        self.row = await asyncio.to_thread(self._open)
        browser, base = await asyncio.to_thread(enter, self.broch, self.row, self.token)
        self.socket = await KernelSocket(browser, base).open()
        said = await self.socket.run(WORK.replace("MARK", mark))
        self.inside = set(sandboxes(self.broch)) - before
        assert self.inside
        return said

    def _open(self):
        row = got(self.api.post("/api/v1/workspaces", json={"project_id": self.project}), 202)

        def running():
            found = workspace(self.api, row["id"])
            assert found["status"] in {"starting", "running"}, found
            return found if found["status"] == "running" else None

        return until(running, 60, "the workspace did not run")

    def lines(self):
        """What is in the kept files, read outside."""
        zone = self.broch.folder / "zones" / self.project
        homes = list((zone / "home").glob("*/work.txt"))
        assert len(homes) == 1
        return homes[0].read_text().split(), (zone / "project" / "work.txt").read_text().split()

    async def close(self):
        if self.socket is not None:
            await self.socket.close()
        self.api.close()


def stop(mine, admin):
    got(mine.api.post(f"/api/v1/workspaces/{mine.row['id']}/stop"), 202)


def stop_by_admin(mine, admin):
    got(admin.post(f"/api/v1/workspaces/{mine.row['id']}/stop"), 202)


def sign_out(mine, admin):
    assert mine.api.delete("/api/v1/sessions/current").status_code == 204


def session_expires(mine, admin):
    _sql(mine, "UPDATE user_session SET expires_at = ? WHERE person_id = ?", _moment(-1))


def session_is_revoked(mine, admin):
    _sql(mine, "UPDATE user_session SET ended_at = ? WHERE person_id = ?", _moment())


def person_is_disabled(mine, admin):
    _sql(mine, "UPDATE person SET disabled_at = ? WHERE id = ?", _moment())


def _moment(seconds=0):
    """A moment as SQLite keeps it (broch_core.store.types.UtcDateTime)."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _sql(mine, statement, value):
    with contextlib.closing(sqlite3.connect(mine.broch.folder / "broch.sqlite", timeout=30)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        changed = database.execute(statement, (value, mine.row["person"]["id"])).rowcount
        database.commit()
    assert changed


def deadline_comes(mine, admin):
    _sql(mine, "UPDATE workspace SET deadline_at = ? WHERE person_id = ?", _moment(-1))


def grant_ends(mine, admin):
    owner = client(mine.broch, "idris")
    detail = got(mine.api.get(f"/api/v1/projects/{mine.project}"))
    grant = next(grant for grant in detail["grants"] if grant["holds"])
    got(owner.delete(f"/api/v1/grants/{grant['id']}"))
    owner.close()


def freeze(mine, admin):
    got(admin.post(f"/api/v1/projects/{mine.project}/freeze"))


def thaw(mine, admin):
    got(admin.post(f"/api/v1/projects/{mine.project}/thaw"))


def membership_ends(mine, admin):
    members = got(admin.get(f"/api/v1/projects/{mine.project}/members"))
    row = next(one for one in members if one["person"]["handle"] == MINE[0] and one["present"])
    got(admin.delete(f"/api/v1/projects/{mine.project}/members/{row['id']}"))


def membership_again(mine, admin):
    body = {"handle": MINE[0], "role": "lead"}
    got(admin.post(f"/api/v1/projects/{mine.project}/members", json=body), 201)


def enable_again(mine, admin):
    _sql(mine, "UPDATE person SET disabled_at = NULL WHERE ? AND id = ?", 1)


def project_ends(mine, admin):
    got(admin.post(f"/api/v1/projects/{mine.project}/end"))


CAUSES = (
    (sign_out, None),
    (freeze, thaw),
    (membership_ends, membership_again),
    (session_expires, None),
    (grant_ends, None),
    (stop, None),
    (stop_by_admin, None),
    (session_is_revoked, None),
    (deadline_comes, None),
    (person_is_disabled, enable_again),
)
"""What ends a workspace, and what makes the next possible."""
REVOKED = {
    "freeze": "project-frozen",
    "membership_ends": "member-removed",
    "grant_ends": "grant-revoked",
    "person_is_disabled": "member-expired",
    "project_ends": "project-ended",
}
"""Those that end a right, which is followed to its end, and by which name it is told."""


@pytest.fixture(scope="module")
def admin(broch):
    with client(broch, "sunniva") as signed_in:
        yield signed_in


def test_every_end_cuts_the_websocket_and_keeps_the_files_and_the_neighbours(broch, admin):
    tried = count("ends of a right with an open websocket", ci=5, nightly=len(CAUSES))
    causes = (*CAUSES[:tried], (project_ends, None))
    took = asyncio.run(all_ends(broch, admin, causes))
    for name, cut, gone in took:
        sys.stdout.write(f"{name}: websocket {cut:.1f} s, processes {gone:.1f} s\n")
    assert [name for name, *_ in took] == [cause.__name__ for cause, _ in causes]


async def all_ends(broch, admin, causes):
    took, marks = [], []
    neighbour = Person(broch, *THEIRS)
    try:
        await neighbour.work("neighbour")
        for cause, undo in causes:
            mine = Person(broch, *MINE)
            marks.append(cause.__name__)
            try:
                said = await mine.work(cause.__name__)
                assert said.strip() == str(marks), "what was written before each end is there"
                took.append((cause.__name__, *await one_end(mine, admin, cause)))
                assert mine.lines() == (marks, marks)
                if cause.__name__ in REVOKED:
                    await asyncio.to_thread(was_followed, mine, admin, REVOKED[cause.__name__])
                if undo is not None:
                    undo(mine, admin)
            finally:
                await mine.close()
            assert await neighbour.socket.run("print(6 * 7)") == "42\n", "the neighbour goes on"
        assert neighbour.socket.closed_at is None
        found = workspace(neighbour.api, neighbour.row["id"])
        assert 10_000 < found["start_bytes"] <= found["browser_bytes"], "what was shown is counted"
        assert found["alarm_at"] is None
        assert all(process.is_running() for process in neighbour.inside)
    finally:
        await neighbour.close()
    return took


def was_followed(mine, admin, cause):
    """See that the saga of the end says what was seen, in time."""

    def done():
        newest = got(admin.get(f"/api/v1/projects/{mine.project}/revocations"))[0]
        return newest if newest["done_at"] else None

    found = until(done, LIMIT_SECONDS, "the end of the right was not confirmed")
    assert found["cause"] == cause
    assert not found["late"]
    seconds = {step["step"]: step["seconds"] for step in found["steps"]}
    assert seconds.keys() == {"rights", "hub", "tokens"}
    assert max(seconds.values()) <= LIMIT_SECONDS
    sys.stdout.write(f"{cause}, as confirmed: {seconds}\n")


async def one_end(mine, admin, cause):
    """Do what ends the right; return after how long the websocket was cut and the last process gone, seconds."""
    began = time.monotonic()
    await asyncio.to_thread(cause, mine, admin)
    cut = await mine.socket.cut(LIMIT_SECONDS) - began
    _, alive = await asyncio.to_thread(
        psutil.wait_procs, mine.inside, timeout=max(0.1, LIMIT_SECONDS - (time.monotonic() - began))
    )
    gone = time.monotonic() - began
    assert not alive, f"{cause.__name__}: still there: {alive}"
    assert gone <= LIMIT_SECONDS
    assert await mine.socket.refused() == 503
    return cut, gone


def test_a_sign_in_to_a_start_that_ended_by_itself_enters_no_later_one(broch):
    """Nobody stopped it, so nobody had the hub forget who was in it; the session behind is over when the next one runs."""
    old, new = Person(broch, *THEIRS), Person(broch, *THEIRS)
    try:
        row = old._open()
        browser, base = enter(broch, row, old.token)
        assert "jupyter-config-data" in browser.get(f"{base}lab")[0].text
        for process in sandboxes(broch):
            process.kill()
        until(
            lambda: workspace(new.api, row["id"])["status"] in {"stopped", "failed"},
            60,
            "the end of its processes was not noticed",
        )
        until(lambda: "server stopped, with exit code" in broch.logs(), 30, "the hub is not done with it")
        assert old.api.delete("/api/v1/sessions/current").status_code == 204
        assert new._open()["id"] == row["id"]
        answer, _, way = browser.get(f"{base}lab")
        assert "jupyter-config-data" not in answer.text, way
        again, _ = enter(broch, row, new.token)
        assert "jupyter-config-data" in again.get(f"{base}lab")[0].text
        again.close()
        browser.close()
    finally:
        new.api.close()
        old.api.close()
