"""Which program judges `terraform/`: the one that is named, else OpenTofu before Terraform, and never one too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from broch.dev.environment import SetUpFailed
from broch.dev.terraform import OLDEST, find, version


def program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_program_says_its_version(tmp_path: Path):
    assert version(program(tmp_path, "tofu", "OpenTofu v1.12.6")) == (1, 12)
    assert version(program(tmp_path, "terraform", "Terraform v1.11.4")) == (1, 11)
    assert version(program(tmp_path, "other", "hello")) == (0, 0)
    assert version(tmp_path / "none") == (0, 0)


def test_opentofu_comes_before_terraform_and_an_old_one_is_no_use(tmp_path: Path):
    terraform = program(tmp_path, "terraform", "Terraform v1.11.4")
    assert find({"PATH": str(tmp_path)}) == terraform
    tofu = program(tmp_path, "tofu", "OpenTofu v1.12.6")
    assert find({"PATH": str(tmp_path)}) == tofu
    program(tmp_path, "tofu", "OpenTofu v1.9.0")
    assert find({"PATH": str(tmp_path)}) == terraform
    terraform.unlink()
    assert find({"PATH": str(tmp_path)}) is None


def test_the_one_that_is_named_is_taken_or_refused(tmp_path: Path):
    program(tmp_path, "tofu", "OpenTofu v1.12.6")
    named = program(tmp_path / "own", "mine", "Terraform v1.13.0")
    assert find({"PATH": str(tmp_path), "BROCH_TERRAFORM": str(named)}) == named
    old = program(tmp_path / "own", "old", "Terraform v1.5.7")
    with pytest.raises(SetUpFailed, match=rf"{OLDEST[0]}\.{OLDEST[1]} or newer"):
        find({"PATH": str(tmp_path), "BROCH_TERRAFORM": str(old)})
