"""`broch migrate`: what the chart's hook runs, against a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.pool import NullPool

from broch import migrations
from broch_core.errors import DomainError
from support.postgres import Cluster, cluster
from support.zones import IMAGE, SOURCES

VARIABLE = "BROCH_DATABASE_OWNER_URL"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


def broch(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROCH_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "broch.cli.main", *words],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def migrate(url: str | None) -> subprocess.CompletedProcess[str]:
    return broch("migrate", **({VARIABLE: url} if url else {}))


def web_on_a_cluster(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Start web as the chart does, as far as the database: there is nothing else."""
    settings = {
        "MODE": "cluster",
        "DEMO": "false",
        "FOLDER": str(folder),
        "DATABASE_URL": url,
        "PUBLIC_URL": "https://tre.example.org",
        "HUB_URL": "https://hub.work.example.net",
        "VIEWER_URL": "https://viewer.work.example.net",
        "TLS": str(folder / "tls"),
        "SECRETS": str(folder / "secrets"),
        "KEYS": str(folder / "keys"),
        "BLOBS": "s3://blobs/broch",
        "HUB_API": "https://broch-hub:8081",
        "SANDBOXES": "broch-sandboxes:8446",
        "CLAMD": "broch-clamd:3311",
        "OIDC_ISSUER": "https://id.example.org/realms/broch",
        "DATASET_STORE": json.dumps(SOURCES["nfs"]),
        "PROFILES": json.dumps([{"name": "standard", "title": "Standard", "image": IMAGE}]),
    }
    return broch("serve", "web", **{f"BROCH_{name}": value for name, value in settings.items()})


def as_version(url: str, version: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_a_fresh_database_gets_the_schema_and_a_second_run_changes_nothing(server: Cluster):
    url = server.fresh()
    for _ in range(2):
        said = migrate(url)
        assert said.returncode == 0, said.stderr
        assert "up to date" in said.stdout
    engine = create_engine(url)
    assert inspect(engine).has_table("zone")
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"), [(None, f"{VARIABLE} is not set"), ("sqlite:///x.sqlite", "broch up")]
)
def test_what_is_no_database_server_is_refused_with_the_reason(url: str | None, words: str):
    said = migrate(url)
    assert said.returncode == 1
    assert words in said.stderr
    assert "Traceback" not in said.stderr


def test_a_service_starts_only_on_the_schema_that_it_knows(server: Cluster, tmp_path: Path):
    url = server.fresh()
    assert "The database has no schema of Broch." in web_on_a_cluster(url, tmp_path).stderr
    migrations.upgrade(url)
    migrations.require_current(url)
    # Past the schema it goes on to the next thing, which this test does not have.
    assert "schema" not in web_on_a_cluster(url, tmp_path).stderr
    for version, remedy in (("9999", "Upgrade Broch"), ("0006", "`broch migrate`")):
        as_version(url, version)
        said = web_on_a_cluster(url, tmp_path)
        assert said.returncode == 1
        assert f"The database's schema is of version {version}, and this Broch needs 00" in said.stderr
        assert remedy in said.stderr
        assert "Traceback" not in said.stderr


def test_a_schema_of_a_later_version_is_not_migrated_and_the_reason_is_told(server: Cluster):
    url = server.fresh()
    assert migrate(url).returncode == 0
    as_version(url, "9999")
    said = migrate(url)
    assert said.returncode == 1
    assert "The database's schema is of version 9999, and this Broch needs 00" in said.stderr
    assert "Upgrade Broch, or restore the database" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_role_of_the_app_may_ask_which_schema_it_is(server: Cluster):
    url = server.fresh()
    migrations.upgrade(url)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE asks LOGIN IN ROLE broch_app"))
    app = make_url(url).set(username="asks").render_as_string(hide_password=False)
    migrations.require_current(app)
    as_version(url, "9999")
    with pytest.raises(DomainError, match="9999"):
        migrations.require_current(app)


def test_a_database_that_does_not_answer_is_told_as_such(tmp_path: Path):
    said = web_on_a_cluster(f"postgresql+psycopg://x@/x?host={tmp_path}", tmp_path)
    assert said.returncode == 1
    assert "The database does not answer" in said.stderr
    assert "Traceback" not in said.stderr
