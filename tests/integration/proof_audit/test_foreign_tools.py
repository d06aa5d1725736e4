"""Receipts checked by Go's own libraries for its checksum database; the commands are those of docs/proof.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.counts import NIGHTLY
from support.documented import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@pytest.mark.skipif(
    not NIGHTLY, reason="nightly: takes Go, and one module from the proxy that Go is configured with"
)
def test_the_note_and_tlog_libraries_of_go_verify_a_receipt(tmp_path: Path):
    assert shutil.which("go"), "Go is not installed"
    for name in ("receipt.json", "trust.json", "checkpoint.go"):
        shutil.copy(EXAMPLES / name, tmp_path)
    script = (ROOT / "docs" / "proof.md").read_text().split("```sh go\n")[1].split("```")[0]
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "HOME": os.environ.get("HOME", str(tmp_path))}

    def run(commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(script)
    assert (done.returncode, done.stdout.strip()) == (
        0,
        "record 55 is in the log broch.localhost/audit of 57 records",
    )
    receipt = tmp_path / "receipt.json"
    text = receipt.read_text()
    for old, new in (
        ('"index": 55', '"index": 54'),
        ("airlock:release", "airlock:recall!"),
        ("\\n57\\n", "\\n58\\n"),
    ):
        assert old in text
        receipt.write_text(text.replace(old, new))
        assert run("go run checkpoint.go").returncode != 0, new
