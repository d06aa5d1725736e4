"""One line with the remedy, and an exit code, for everything that a server or a network can do to a command."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broch.cli import client
from broch.cli.main import app as broch_app

Say = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Say]:
    """Return what makes a server that gives every call the same answer; it returns the address."""
    servers: list[HTTPServer] = []

    def say(status: int, body: object, media_type: str = "application/problem+json") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield say
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def fails(server: str) -> tuple[int, str]:
    """Run a command that must fail; return exit code and the one line that it prints."""
    result = CliRunner().invoke(broch_app, ["--server", server, "project", "list"])
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr.removeprefix("broch: ").rstrip("\n")


def problem(status: int, **more: object) -> dict[str, object]:
    return {
        "type": "https://broch.dev/problems/x",
        "title": "T",
        "status": status,
        "detail": "Why not.",
        **more,
    }


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "Sign in: broch login --as HANDLE"),
        (409, "See how it stands now, and repeat if it still makes sense."),
        (422, "Correct that and repeat."),
        (429, "Wait a little and repeat."),
        (503, "Repeat in a moment; if it stays so, an administrator sees why by 'broch doctor'."),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(answering: Say, status: int, remedy: str) -> None:
    code, line = fails(answering(status, problem(status)))
    assert code == 1
    assert line.endswith(remedy)
    assert line.startswith("You are not signed in" if status == 401 else "Why not. ")


def test_the_remedy_of_the_server_comes_before_ours(answering: Say) -> None:
    assert fails(answering(409, problem(409, remedy="Choose another."))) == (1, "Why not. Choose another.")


def test_a_refusal_cannot_steer_the_terminal(answering: Say) -> None:
    _, line = fails(answering(403, problem(403, detail="No\n\x1b[2Jfaked: done")))
    assert line == "No \\x1b[2Jfaked: done"


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (404, b"<html>not here", "text/html"),
        (500, b"{}", "application/json"),
        (409, b"not json", "application/problem+json"),
        (409, b"[]", "application/problem+json"),
    ],
)
def test_another_program_at_the_address_is_named_as_such(
    answering: Say, status: int, body: bytes, media_type: str
) -> None:
    code, line = fails(answering(status, body, media_type))
    assert code == 1
    assert line.endswith("Is another program listening there? Name the server by --server.")


def test_an_answer_that_is_no_json_is_said(answering: Say) -> None:
    assert "not JSON" in fails(answering(200, b"<html>", "text/html"))[1]


def test_a_server_that_does_not_answer_in_time_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert fails(server) == (3, f"{server} did not answer in time. Try again.")


def test_a_connection_that_breaks_is_exit_code_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            rude.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        code, line = fails(f"http://127.0.0.1:{rude.getsockname()[1]}")
    assert code == 3
    assert line.endswith("Try again.")
