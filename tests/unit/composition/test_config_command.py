"""`broch config` and what every command that runs Broch says of settings that cannot be used."""

import json

import pytest
from typer.testing import CliRunner

from broch.cli.configured import load_settings
from broch.cli.main import app
from broch_core.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("BROCH_")]:
        monkeypatch.delenv(name)


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_every_setting_is_printed_with_its_reason():
    rows = {row["name"]: row for row in json.loads(run("config", "--json").stdout)}
    assert set(rows) == set(Settings.model_fields)
    for row in rows.values():
        assert row["variable"] == f"BROCH_{row['name'].upper()}"
        assert len(row["says"]) > 20, row
    text = run("config").stdout
    for row in rows.values():
        assert row["variable"] in text
        assert row["says"] in text


def test_secrets_stay_hidden(monkeypatch):
    monkeypatch.setenv("BROCH_DATABASE_URL", "postgresql+psycopg://broch:hunter2@db.invalid/broch")
    for arguments in (["config"], ["config", "--json"]):
        answer = run(*arguments)
        assert answer.exit_code == 0
        assert "hunter2" not in answer.output
        assert "(set, hidden)" in answer.stdout


def test_a_value_is_shown_as_it_is_in_force(monkeypatch):
    monkeypatch.setenv("BROCH_PORT", "9000")
    assert "BROCH_PORT = 9000" in run("config").stdout
    monkeypatch.setenv("BROCH_LOG_NAME", "a.b/c")
    assert "BROCH_LOG_NAME = a.b/c" in run("config").stdout


@pytest.mark.parametrize(
    ("said", "seconds"), [("0", 0), ("60", 60), ("5400.5", 5400.5), ("43200 s", 43200), ("PT12H", 43200)]
)
def test_a_time_is_iso_8601_or_seconds_as_text_too(monkeypatch, said, seconds):
    """In the environment all is text; the last way but one is what `broch config` prints."""
    monkeypatch.setenv("BROCH_WORKSPACE_IDLE", said)
    assert load_settings().workspace_idle.total_seconds() == seconds
    assert f"BROCH_WORKSPACE_IDLE = {seconds:g} s" in run("config").stdout


@pytest.mark.parametrize("said", ["-1", "1e9", "ten", "60 minutes", ""])
def test_what_is_no_time_is_refused(monkeypatch, said):
    monkeypatch.setenv("BROCH_WORKSPACE_IDLE", said)
    answer = run("config")
    assert answer.exit_code != 0
    assert "BROCH_WORKSPACE_IDLE" in answer.output


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "80", "BROCH_PORT: Input should be greater than or equal to 1024"),
        ("PORT", "eighty", "BROCH_PORT: Input should be a valid integer"),
        ("LOG_FORMAT", "xml", "BROCH_LOG_FORMAT: String should match pattern"),
        ("SIGNATURE_AGE", "a while", "BROCH_SIGNATURE_AGE: Input should be a valid timedelta"),
        ("DEMO", "perhaps", "BROCH_DEMO: Input should be a valid boolean"),
    ],
)
@pytest.mark.parametrize("command", ["config", "doctor", "up"])
def test_a_value_that_cannot_be_used_is_named(monkeypatch, name, value, says, command, capsys):
    monkeypatch.setenv(f"BROCH_{name}", value)
    answer = run(command)
    assert answer.exit_code == 1
    assert says in answer.stderr
    assert "Traceback" not in answer.output


def test_a_bad_option_is_named_as_the_option():
    answer = run("up", "--port", "80")
    assert answer.exit_code == 1
    assert "--port: Input should be greater than or equal to 1024" in answer.stderr


def test_a_file_sets_what_the_environment_does_not(monkeypatch, tmp_path):
    file = tmp_path / "broch.toml"
    file.write_text('port = 9100\nlog_format = "json"\n')
    monkeypatch.setenv("BROCH_CONFIG", str(file))
    monkeypatch.setenv("BROCH_LOG_FORMAT", "text")
    text = run("config").stdout
    assert "BROCH_PORT = 9100" in text
    assert "BROCH_LOG_FORMAT = text" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("prot = 9100\n", "BROCH_PROT: Extra inputs are not permitted"),
        ("port = \n", "which is not TOML"),
        (None, "which cannot be read: no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_not_a_default(monkeypatch, tmp_path, content, says):
    file = tmp_path / "broch.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("BROCH_CONFIG", str(file))
    answer = run("config")
    assert answer.exit_code == 1
    assert says in answer.stderr


def test_a_relative_folder_is_meant_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROCH_FOLDER", "state")
    assert load_settings().folder == tmp_path / "state"
    assert load_settings(folder=None, port=None).port == 8000
