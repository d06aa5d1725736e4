"""People in every relation to a project, and raw SQL as the app's database role: the rules of the code passed by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from broch import migrations
from broch_airlock.tables import AirlockRequest
from broch_core.actors import ProjectRole
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.store.unit import TRIGGER_MARK
from broch_core.tables.projects import Membership
from support.postgres import Cluster
from support.reviews import ReviewWorld

INDEPENDENT = ("rita", "ravi", "sam")
"""Persons without any tie to the project; that `sam` is no reviewer is for the rules of the code to know."""
TIED = {"author": "ruth", "member": "robin", "past member": "rosa"}
PEOPLE = (*INDEPENDENT, *TIED.values())
PAIRS = [*itertools.product(PEOPLE, repeat=2)]
APP = "broch_app_login"
_DECIDE = text(
    "INSERT INTO airlock_decision (id, file_id, sha256, turn, reviewer_id, opinion, comment, at, superseded_at) "
    "SELECT :id, f.id, f.sha256, f.turn, p.id, 'approve', '', :now, NULL FROM airlock_file f, person p "
    "WHERE f.request_id = :request AND p.handle = :handle"
)
_APPROVE = text("UPDATE airlock_request SET status = 'approved', version = version + 1 WHERE id = :request")


@dataclass
class Duty:
    """A world, and an engine of the app's role on its database."""

    place: ReviewWorld
    app: Engine

    def request(self) -> AirlockRequest:
        """Add a request in review with one file."""
        return self.place.in_review({f"{new_id()}.csv": b"a,b\n1,2\n"})

    def past(self) -> None:
        """Let rosa have been a member until yesterday."""
        now = utc_now()
        self.place.world.add(
            Membership(
                project_id=self.place.world.project.id,
                person_id=self.place.world.people["rosa"].id,
                role=ProjectRole.RESEARCHER,
                since=now - timedelta(days=9),
                until=now - timedelta(days=1),
            )
        )

    def raw(self, statement: Any, **values: object) -> bool:
        """Run SQL as the app's role; return whether the database let it pass."""
        with self.app.connect() as connection:
            try:
                with connection.begin():
                    connection.execute(text(statement) if isinstance(statement, str) else statement, values)
            except DBAPIError as error:
                if not said_no(error):
                    raise  # a slip of the test
                return False
        return True

    def decide(self, request: AirlockRequest, handle: str) -> bool:
        """Insert an approval in somebody's name."""
        now = (
            utc_now() if self.app.dialect.name != "sqlite" else utc_now().replace(tzinfo=None).isoformat(" ")
        )
        return self.raw(_DECIDE, id=new_id(), request=request.id, handle=handle, now=now)

    def approve(self, request: AirlockRequest) -> bool:
        """Set the state by hand."""
        return self.raw(_APPROVE, request=request.id)


def said_no(error: DBAPIError) -> bool:
    """Tell whether a trigger, a constraint or a missing right refused, and no slip of the test."""
    words = (
        TRIGGER_MARK,
        "unique",
        "duplicate key",
        "not authorized",
        "permission denied",
        "must be owner",
        "must be superuser",
    )
    more = ("foreign key", "may not be modified")
    return any(word in str(error.orig).lower() for word in (*words, *more))


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Duty]:
    """Make a world on a migrated SQLite; the app's connections are those of the store."""
    url = f"sqlite:///{folder / 'broch.sqlite'}"
    migrations.upgrade(url)
    place = ReviewWorld(folder, url)
    duty = Duty(place, place.store.engine.execution_options(broch_writes=True))
    duty.past()
    yield duty
    place.store.engine.dispose()


@contextmanager
def on_postgresql(folder: Path, server: Cluster) -> Iterator[Duty]:
    """Make a world on a migrated PostgreSQL; the app signs in with a role that is granted `broch_app` and no more."""
    url = server.fresh()
    migrations.upgrade(url)
    place = ReviewWorld(folder, url)
    with place.store.engine.begin() as connection:
        if connection.execute(text(f"SELECT 1 FROM pg_roles WHERE rolname = '{APP}'")).first() is None:
            connection.execute(text(f"CREATE ROLE {APP} LOGIN IN ROLE broch_app"))
    app = create_engine(make_url(url).set(username=APP), poolclass=NullPool)
    duty = Duty(place, app)
    duty.past()
    yield duty
    app.dispose()
    place.store.engine.dispose()
