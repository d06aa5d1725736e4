"""The schema that migrations make is the one that the tables say, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

import broch.schema
from broch import migrations
from broch_airlock import triggers as airlock
from broch_core.audit import triggers as audit
from broch_core.store.engine import make_engine
from support.postgres import Cluster, cluster


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broch.sqlite'}"
    return request.getfixturevalue("server").fresh()


def test_migrations_make_the_tables_as_they_are_written(url: str):
    migrations.upgrade(url)
    engine = make_engine(url, owner=True)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, broch.schema.metadata()) == []
    engine.dispose()


def test_migrations_run_twice_change_nothing(url: str):
    migrations.upgrade(url)
    migrations.upgrade(url)


def test_migrations_make_every_trigger(url: str):
    migrations.upgrade(url)
    engine = make_engine(url, owner=True)
    sqlite = engine.dialect.name == "sqlite"
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if sqlite
        else "SELECT DISTINCT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    statements = [
        s
        for part in (audit, airlock)
        for s in (part.sqlite_triggers() if sqlite else part.postgresql_triggers())
    ]
    with engine.connect() as connection:
        found = set(connection.execute(text(query)).scalars())
    engine.dispose()
    assert found == {s.split()[2] for s in statements if s.split()[1] == "TRIGGER"}


def test_the_app_role_uses_tables_but_cannot_change_them(server: Cluster):
    url = server.fresh()
    migrations.upgrade(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET ROLE broch_app"))
        connection.execute(
            text(
                "INSERT INTO person (id, handle, display_name, about, created_at) VALUES ('1', 'x', 'X', '', now())"
            )
        )
    for statement in (
        "DROP TRIGGER audit_record_fixed ON audit_record",
        "ALTER TABLE person ADD COLUMN x text",
        "ALTER TABLE audit_record DISABLE TRIGGER ALL",
        "CREATE TABLE x (y text)",
        "SET session_replication_role = replica",
    ):
        with engine.connect() as connection:
            connection.execute(text("SET ROLE broch_app"))
            with pytest.raises(ProgrammingError, match=r"owner|permission"):
                connection.execute(text(statement))
    engine.dispose()


def _upgrade_to(url: str, revision: str) -> None:
    engine = make_engine(url, owner=True)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_what_an_older_version_holds_is_kept_and_gets_the_usual_values(url: str):
    _upgrade_to(url, "0002")
    engine = make_engine(url, owner=True)
    now = "2026-11-29 12:00:00+00:00"
    with engine.begin() as connection:
        for statement in (
            (
                "INSERT INTO person (id, handle, display_name, about, created_at) "
                f"VALUES ('{'P' * 26}', 'ada', 'Ada', '', '{now}')"
            ),
            (
                "INSERT INTO project (id, slug, name, purpose, status, browser_policy, version, starts_on, ends_on, created_at) "
                f"VALUES ('{'Q' * 26}', 'one', 'One', '', 'active', 'warn', 1, '2026-01-01', '2026-12-31', '{now}')"
            ),
            (
                "INSERT INTO membership (id, project_id, person_id, role, since) "
                f"VALUES ('{'M' * 26}', '{'Q' * 26}', '{'P' * 26}', 'researcher', '{now}')"
            ),
            (
                "INSERT INTO workspace (id, project_id, person_id, principal, status, version, created_at, grant_ids, "
                "browser_bytes, start_bytes) "
                f"VALUES ('{'W' * 26}', '{'Q' * 26}', '{'P' * 26}', 'w', 'stopped', 1, '{now}', '[]', 0, 0)"
            ),
        ):
            connection.execute(text(statement))
    engine.dispose()
    migrations.upgrade(url)
    engine = make_engine(url, owner=True)
    with engine.connect() as connection:
        asked = "SELECT p.user_namespaces, p.quota, w.profile, o.issuer FROM project p, workspace w, person o"
        assert connection.execute(text(asked)).all() == [("where-possible", None, "standard", None)]
        assert connection.execute(text("SELECT count(*) FROM membership")).scalar_one() == 1
    shared = (
        "INSERT INTO workspace (id, project_id, principal, status, version, created_at, profile, grant_ids, browser_bytes, "
        f"start_bytes) VALUES ('{{}}', '{'Q' * 26}', '{{}}', 'stopped', 1, '{now}', 'standard', '[]', 0, 0)"
    )
    with engine.begin() as connection:
        connection.execute(text(shared.format("S" * 26, "ws")))
        found = connection.execute(text("SELECT person_id FROM workspace ORDER BY id")).scalars().all()
        assert found == [None, "P" * 26]
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(shared.format("T" * 26, "wt")))  # a project has one
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("UPDATE person SET issuer = 'https://id.example.org'"))  # half an identity
    engine.dispose()
