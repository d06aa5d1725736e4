"""What the server inside is started with: alone in one's own workspace, together in a shared one, never by itself."""

from __future__ import annotations

import ast
import json
import stat
from pathlib import Path

import pytest

from broch_spawner.inside import lab
from broch_spawner.lab_files import SHARED, lab_files

TOGETHER = {"jupyter_server_ydoc", "jupyter_server_fileid"}


def parts(arguments: tuple[str, ...]) -> dict[str, bool]:
    """Return the parts of the server that arguments switch."""
    (found,) = [one for one in arguments if one.startswith("--ServerApp.jpserver_extensions=")]
    switched: dict[str, bool] = ast.literal_eval(found.partition("=")[2])
    return switched


@pytest.mark.parametrize("told", [{}, {"BROCH_SHARED": ""}, {"BROCH_SHARED": "0"}])
def test_one_s_own_workspace_writes_alone(told: dict[str, str]) -> None:
    environment = dict(told)
    arguments = lab.arguments(environment)
    assert {name for name, on in parts(arguments).items() if not on} > TOGETHER
    assert "--ServerApp.root_dir=/home/researcher" in arguments
    assert environment == told


def test_a_shared_one_writes_together_in_the_project_s_folder() -> None:
    environment = {"BROCH_SHARED": "1"}
    arguments = lab.arguments(environment)
    assert {name for name, on in parts(arguments).items() if on} > TOGETHER
    assert "--ServerApp.root_dir=/project" in arguments
    assert environment["JUPYTER_CONFIG_PATH"] == lab.SHARED_SETTINGS == SHARED


def test_an_image_that_cannot_share_does_not_start_as_if_it_could(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda _: None)
    assert lab.arguments({})
    with pytest.raises(SystemExit) as ended:
        lab.arguments({"BROCH_SHARED": "1"})
    assert ended.value.code == lab.CANNOT_SHARE


def test_a_pod_answers_by_tls_with_what_it_was_given_and_passes_it_to_no_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = {lab.TLS_KEY: "KEY\n", lab.TLS_CERTIFICATE: "CERTIFICATE\n", "HOME": "/x"}
    keyfile, certfile = lab.by_tls(environment)
    [file] = tmp_path.iterdir()
    assert (keyfile, certfile) == (f"--ServerApp.keyfile={file}", f"--ServerApp.certfile={file}")
    assert file.read_text() == "KEY\nCERTIFICATE\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert environment == {"HOME": "/x"}


@pytest.mark.parametrize("told", [{}, {lab.TLS_KEY: "KEY"}, {lab.TLS_CERTIFICATE: "CERTIFICATE"}])
def test_a_pod_without_a_certificate_does_not_answer_in_the_clear(told: dict[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lab.by_tls(dict(told))
    assert ended.value.code == lab.NO_CERTIFICATE


def test_parts_of_the_page_are_off_but_where_a_shared_workspace_switches_them_on() -> None:
    files = {file.path: file.data for file in lab_files()}
    usual = json.loads(files["/etc/jupyter/labconfig/page_config.json"])["disabledExtensions"]
    shared = json.loads(files[f"{SHARED}/labconfig/page_config.json"])["disabledExtensions"]
    assert shared
    assert not any(shared.values())
    assert all(usual[name] for name in shared)
