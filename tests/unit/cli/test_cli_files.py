"""What the command line keeps and saves: sign-ins, downloads, and where a token may go."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broch.cli import airlock_download
from broch.cli.airlock_download import safe_name, save
from broch.cli.client import checked_server
from broch.cli.credentials import Credential, CredentialStore
from broch.cli.failure import Failure, Misused

TABLE = b"group,count\na,15\nb,20\n"
TABLE_SHA256 = hashlib.sha256(TABLE).hexdigest()


def test_sign_ins_at_two_servers_live_side_by_side(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    store = CredentialStore()
    stamp = datetime.now(UTC).isoformat()
    store.put("http://127.0.0.1:1", Credential("a", "ruth", stamp))
    store.put("http://127.0.0.1:2", Credential("b", "sam", stamp))
    store.drop("http://127.0.0.1:1")
    assert store.get("http://127.0.0.1:1") is None
    assert store.get("http://127.0.0.1:2") == Credential("b", "sam", stamp)
    assert sorted(path.name for path in (tmp_path / "broch").iterdir()) == ["credentials.json", "lock"]


@pytest.mark.parametrize(
    "address",
    [
        "http://broch.example.org",
        "ftp://127.0.0.1",
        "http://127.0.0.1:8000/x",
        "http://a:b@127.0.0.1",
        "http://127.0.0.1:99999",
        "http://localhost.example.org",
        "",
    ],
)
def test_a_token_goes_to_no_address_where_others_could_read_it(address: str) -> None:
    with pytest.raises(Misused):
        checked_server(address)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://broch.localhost:8000", "http://broch.localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://broch.example.org", "https://broch.example.org"),
    ],
)
def test_addresses_that_keep_a_token_are_taken(address: str, origin: str) -> None:
    assert checked_server(address) == origin


def test_other_bytes_than_the_released_ones_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="not those that were released"):
        save(tmp_path / "table.csv", [b"other"], sha256=TABLE_SHA256)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path / "table.csv", [TABLE[:5], TABLE[5:]], sha256=TABLE_SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_broken_download_leaves_no_file(tmp_path: Path) -> None:
    def pieces():
        yield b"group"
        raise Failure("The connection broke.")

    with pytest.raises(Failure, match="broke"):
        save(tmp_path / "table.csv", pieces(), sha256=TABLE_SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_during_a_download_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "table.csv"

    def pieces():
        place.write_text("mine")
        yield TABLE

    with pytest.raises(Failure, match="is there already"):
        save(place, pieces())
    monkeypatch.setattr(
        airlock_download.os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "no links here"))
    )
    with pytest.raises(Failure, match="is there already"):
        save(place, [TABLE])
    assert place.read_text() == "mine"
    save(tmp_path / "other.csv", [TABLE])
    assert (tmp_path / "other.csv").read_bytes() == TABLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv", "table.csv"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\x00", "a\x1b[2J", "a\u202eb"]
)
def test_a_server_cannot_name_a_file_outside_of_the_folder(name: str) -> None:
    with pytest.raises(Failure):
        safe_name(name)
    assert safe_name("table 2.csv") == "table 2.csv"
