"""Two independent persons, or nothing leaves: by the database alone, with every rule of the code passed by."""

from __future__ import annotations

import getpass
import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import AirlockStatus
from support.counts import count
from support.duties import INDEPENDENT, PAIRS, TIED, Duty, on_postgresql, on_sqlite, said_no
from support.postgres import Cluster

ROUNDS = count("rounds of 50 racers for one approval on PostgreSQL", ci=100, nightly=1000)
RACERS = 50
OWNER = "nobody" if os.geteuid() == 0 else getpass.getuser()
"""Who runs the PostgreSQL of the tests (`support.postgres`), and is its superuser."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def duty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duty]:
    folder: Path = tmp_path_factory.mktemp("duty")
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield stack.enter_context(on_sqlite(folder))
        else:
            yield stack.enter_context(on_postgresql(folder, request.getfixturevalue("server")))


def test_of_all_pairs_of_persons_only_two_independent_ones_make_up_the_decisions(duty: Duty) -> None:
    for first, second in PAIRS:
        request = duty.request()
        assert duty.decide(request, first) == (first in INDEPENDENT)
        assert duty.decide(request, second) == (second in INDEPENDENT and second != first)
        allowed = first != second and {first, second} <= set(INDEPENDENT)
        assert duty.approve(request) == allowed, (first, second)
        status = duty.place.request(request.id).status
        assert status is (AirlockStatus.APPROVED if allowed else AirlockStatus.IN_REVIEW)


TRICKS = {
    "the same person once more, the first decision superseded": (
        "UPDATE airlock_decision SET superseded_at = at WHERE superseded_at IS NULL",
        "rita",
    ),
    "the same person, the first decision renamed": (
        "UPDATE airlock_decision SET reviewer_id = (SELECT id FROM person WHERE handle = 'ravi')",
        None,
    ),
    "a member after the membership is deleted": ("DELETE FROM membership", "robin"),
    "a member after the membership is moved": (
        "UPDATE membership SET person_id = (SELECT id FROM person WHERE handle = 'ada')",
        "robin",
    ),
    "a member after the membership is ended": ("UPDATE membership SET until = since", "robin"),
    "the author after the request is given away": (
        "UPDATE airlock_request SET author_id = (SELECT id FROM person WHERE handle = 'sam')",
        "ruth",
    ),
    "the same person on other bytes": ("UPDATE airlock_file SET sha256 = 'x' WHERE 1 = 1", "rita"),
    "a file without decisions taken out": ("DELETE FROM airlock_file", None),
    "another project": (
        "UPDATE airlock_request SET project_id = (SELECT id FROM project WHERE slug = 'beta')",
        "robin",
    ),
    "back to a draft, and to review past the checks": (
        "UPDATE airlock_request SET status = 'draft' WHERE status = 'in_review'",
        "rita",
    ),
    "a release by hand": ("UPDATE airlock_request SET status = 'releasing' WHERE status = 'in_review'", None),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_second_decision_is_made_out_of_one(duty: Duty, trick: str) -> None:
    statement, handle = TRICKS[trick]
    request = duty.request()
    assert duty.decide(request, "rita")
    duty.raw(statement)
    if handle is not None:
        duty.decide(request, handle)
    assert not duty.approve(request)
    assert duty.place.request(request.id).status is AirlockStatus.IN_REVIEW
    assert duty.decide(request, "ravi")
    if trick == "the same person once more, the first decision superseded":
        return  # what was superseded is gone: rita's second one counts, once
    assert duty.approve(request)


# the app's role cannot change what holds

NEITHER = [
    "DROP TABLE airlock_decision",
    "ALTER TABLE airlock_decision ADD COLUMN x text",
    "CREATE TABLE x (y text)",
    "CREATE VIEW x AS SELECT 1",
    "CREATE TEMPORARY TABLE membership (project_id text, person_id text)",
    "CREATE INDEX x ON membership (person_id)",
    "DROP INDEX airlock_decision_one_standing",
    "UPDATE alembic_version SET version_num = 'x'",
]
SQLITE = [
    *NEITHER,
    "DROP TRIGGER airlock_decision_kept",
    "CREATE TRIGGER x BEFORE INSERT ON membership BEGIN SELECT 1; END",
    "CREATE TEMPORARY TRIGGER x BEFORE INSERT ON membership BEGIN DELETE FROM airlock_decision; END",
    "CREATE VIRTUAL TABLE x USING fts5(y)",
    "PRAGMA writable_schema = ON",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "UPDATE sqlite_master SET sql = 'x' WHERE name = 'airlock_decision_kept'",
    "DELETE FROM sqlite_master",
    "ATTACH DATABASE ':memory:' AS other",
]
POSTGRESQL = [
    *NEITHER,
    "DROP TRIGGER airlock_decision_kept ON airlock_decision",
    "ALTER TABLE airlock_decision DISABLE TRIGGER ALL",
    "ALTER TABLE airlock_decision DISABLE TRIGGER airlock_decision_kept",
    "CREATE OR REPLACE FUNCTION airlock_decision_kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "DROP FUNCTION airlock_decision_kept CASCADE",
    "ALTER FUNCTION airlock_decision_kept() RENAME TO x",
    "TRUNCATE airlock_decision",
    "TRUNCATE membership CASCADE",
    "SET session_replication_role = replica",
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    "ALTER ROLE broch_app SUPERUSER",
    f"GRANT {OWNER} TO broch_app_login",
    "ALTER TABLE airlock_decision OWNER TO broch_app_login",
    "CREATE SCHEMA x",
    "UPDATE pg_trigger SET tgenabled = 'D'",
]


def test_the_role_of_the_app_cannot_switch_off_what_holds(duty: Duty) -> None:
    sqlite = duty.app.dialect.name == "sqlite"
    for statement in SQLITE if sqlite else POSTGRESQL:
        with duty.app.connect() as connection:
            with pytest.raises(DBAPIError) as refused:
                connection.exec_driver_sql(statement)
            assert said_no(refused.value), (statement, refused.value)
    assert duty.raw("UPDATE person SET about = 'x' WHERE handle = 'ada'")  # what it is for, it can do


_REPLACING = (
    "REPLACE INTO airlock_decision SELECT d.id, d.file_id, d.sha256, d.turn, "
    "(SELECT id FROM person WHERE handle = 'ravi'), d.opinion, d.comment, d.at, NULL FROM airlock_decision d"
)
_MOVING = (
    "REPLACE INTO membership (id, project_id, person_id, role, since) "
    "SELECT id, project_id, (SELECT id FROM person WHERE handle = 'ada'), role, since FROM membership"
)
_IGNORING = (
    "INSERT OR IGNORE INTO airlock_decision SELECT 'x', f.id, f.sha256, f.turn, "
    "(SELECT id FROM person WHERE handle = 'ruth'), 'approve', '', '2026-01-01', NULL FROM airlock_file f"
)


def test_a_row_is_not_replaced_past_the_triggers_of_deletion(duty: Duty) -> None:
    """INSERT OR REPLACE deletes without asking DELETE triggers unless `recursive_triggers` is on."""
    request = duty.request()
    assert duty.decide(request, "rita")
    if duty.app.dialect.name == "sqlite":
        for statement in (
            _REPLACING,
            "UPDATE OR REPLACE airlock_decision SET opinion = 'reject'",
            _MOVING,
            _IGNORING,
        ):
            assert not duty.raw(statement), statement
    else:
        assert not duty.raw(
            "INSERT INTO airlock_decision SELECT * FROM airlock_decision WHERE true "
            "ON CONFLICT (id) DO UPDATE SET opinion = 'reject'"
        )
    assert not duty.approve(request)


# many at once


@pytest.mark.timeout(3600)  # nightly counts
def test_fifty_racers_never_make_up_two_decisions(server: Cluster, tmp_path: Path) -> None:
    """Author, members, a past member and one reviewer ten times over, while others set the state; then the twin."""
    with on_postgresql(tmp_path, server) as duty:
        race = Race(duty)
        try:
            approved = sum(race.round(number, honest=number % 5 == 4) for number in range(ROUNDS))
        finally:
            race.end()
    assert approved == ROUNDS // 5  # with a second independent reviewer among them, it is approved once


class Race:
    """Fifty threads with a connection each, let loose together, round by round."""

    def __init__(self, duty: Duty) -> None:
        self.duty = duty
        self.gate = threading.Barrier(RACERS + 1)
        self.defects: list[BaseException] = []
        self.over = False
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(RACERS)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        connection = self.duty.app.connect()
        while True:
            self.gate.wait(60)
            if self.over:
                connection.close()
                return
            statement, values = self.jobs[number]
            try:
                with connection.begin():
                    won = connection.execute(text(statement), values).rowcount
                self.won[number] = won
            except DBAPIError as error:
                if not said_no(error):
                    self.defects.append(error)
            self.gate.wait(60)

    def round(self, number: int, *, honest: bool) -> bool:
        """Race for one request; return whether it was approved."""
        duty, chosen = self.duty, random.Random(number)
        request = duty.request()
        file = duty.place.files(request)[0]
        now = utc_now()
        names = [*TIED.values()] * 6 + ["rita"] * 12
        if honest:
            names[0] = "ravi"
        people = duty.place.world.people
        decide = (
            "INSERT INTO airlock_decision (id, file_id, sha256, turn, reviewer_id, opinion, comment, at) "
            "VALUES (:id, :file, :sha256, :turn, :reviewer, 'approve', '', :now)"
        )
        approve = (
            "UPDATE airlock_request SET status = 'approved', version = version + 1 "
            "WHERE id = :request AND status = 'in_review'"
        )
        decisions = [
            {
                "id": new_id(),
                "file": file.id,
                "sha256": file.sha256,
                "turn": file.turn,
                "reviewer": people[name].id,
                "now": now,
            }
            for name in names
        ]
        self.jobs: list[tuple[str, dict[str, object]]] = [(decide, values) for values in decisions]
        self.jobs += [(approve, {"request": request.id})] * (RACERS - len(self.jobs))
        chosen.shuffle(self.jobs)
        self.won = [0] * RACERS
        self.gate.wait(60)
        self.gate.wait(60)
        assert self.defects == []
        with duty.place.store.engine.connect() as connection:
            found = connection.execute(
                text("SELECT reviewer_id FROM airlock_decision WHERE file_id = :file"), {"file": file.id}
            ).scalars()
            deciders = sorted(found)
        wanted = ["rita", "ravi"] if honest else ["rita"]
        assert deciders == sorted(people[name].id for name in wanted)
        raced = sum(won for job, won in zip(self.jobs, self.won, strict=True) if job[0] == approve)
        assert raced <= int(honest)
        late = duty.approve(request) if not raced else False
        status = duty.place.request(request.id).status
        assert status is (AirlockStatus.APPROVED if honest else AirlockStatus.IN_REVIEW)
        return bool(raced or late)

    def end(self) -> None:
        """Let the racers go home."""
        self.over = True
        self.gate.wait(60)
        for thread in self.threads:
            thread.join(10)
