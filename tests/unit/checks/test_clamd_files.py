"""Configuration of clamd and freshclam, the age of signatures of our own, and contexts that follow their files."""

from __future__ import annotations

import os
import ssl
from functools import partial
from pathlib import Path

import pytest

from broch_airlock.checks.clamd_config import freshclam_conf
from broch_airlock.checks.clamd_relay import made_at
from broch_core.tls import Renewed, client_context, server_context
from support.cluster.authority import Authority


def lines(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_freshclam_asks_the_mirror_it_is_given_and_tells_clamd() -> None:
    made = lines(
        freshclam_conf(Path("/var/lib/clamav"), mirror="mirror.test", clamd=Path("/etc/clamav/clamd.conf"))
    )
    assert made["DatabaseMirror"] == "mirror.test"
    assert made["NotifyClamd"] == "/etc/clamav/clamd.conf"
    assert made["TestDatabases"] == "yes"
    assert "PrivateMirror" not in made
    assert "HTTPProxyServer" not in made


def test_a_private_mirror_and_a_proxy_are_named_as_freshclam_wants() -> None:
    made = lines(
        freshclam_conf(Path("/db"), mirror="http://mirror.test/clam", private=True, proxy="proxy.test:3128")
    )
    assert made["PrivateMirror"] == "http://mirror.test/clam"
    assert (made["HTTPProxyServer"], made["HTTPProxyPort"]) == ("proxy.test", "3128")
    assert "DatabaseMirror" not in made


@pytest.mark.parametrize(
    "changes",
    [
        {"mirror": ""},
        {"mirror": "a b"},
        {"mirror": "a\nOnUpdateExecute x"},
        {"mirror": "#a"},
        {"checks": 0},
        {"checks": 51},
        {"proxy": "nowhere"},
        {"proxy": "a b:80"},
        {"proxy": "a:80x"},
        {"clamd": Path("/etc/my clamd.conf")},
    ],
)
def test_what_the_format_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    good: dict[str, object] = {"mirror": "mirror.test"}
    assert freshclam_conf(Path("/db"), **good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"freshclam"):
        freshclam_conf(Path("/db"), **(good | changes))  # type: ignore[arg-type]


def test_signatures_are_as_old_as_the_oldest_and_official_ones_are_not_spoken_for(tmp_path: Path) -> None:
    assert made_at(None) == made_at(tmp_path) == made_at(tmp_path / "missing") == b""
    for name, at in (("a.ndb", 5000), ("b.ndb", 4000)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (at, at))
    assert made_at(tmp_path) == b"4000"
    for name in ("main.cvd", "daily.cld"):
        (tmp_path / name).write_text("x")
    assert made_at(tmp_path) == b""


def test_a_context_is_the_same_until_its_files_change_and_a_broken_change_is_waited_out(
    tmp_path: Path,
) -> None:
    Authority().issue("a.test").write(tmp_path)
    for make in (client_context, partial(server_context, clients=True)):
        renewed = Renewed(tmp_path, make)
        first = renewed()
        assert isinstance(first, ssl.SSLContext)
        assert renewed() is first
        certificate = (tmp_path / "tls.crt").read_bytes()
        (tmp_path / "tls.crt").write_bytes(b"half")
        assert renewed() is first
        (tmp_path / "tls.crt").write_bytes(certificate)
        assert renewed() is not first


def test_no_certificate_is_no_context(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        Renewed(tmp_path, client_context)()
