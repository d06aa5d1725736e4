"""The program that judges and tries `terraform/`: the machine's OpenTofu or Terraform."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from broch.dev.environment import SetUpFailed

FOLDER = "terraform"
OLDEST = (1, 11)
"""Write-only arguments begin with it, in both programs."""
PROGRAM = "BROCH_TERRAFORM"
"""Names another program than the one that is found."""


def version(program: Path | str) -> tuple[int, int]:
    """Return the version of a Terraform or OpenTofu; 0.0 if it says none."""
    try:
        # It would ask its maker for news, and read what this person has configured.
        quiet = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
        said = subprocess.run(
            [program, "version"], env=quiet, capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0, 0
    found = re.search(r"v(\d+)\.(\d+)\.", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find(
    environment: dict[str, str] | None = None, judge: Callable[[Path | str], tuple[int, int]] = version
) -> Path | None:
    """Return what the machine has, new enough; OpenTofu before Terraform.

    Raises:
        SetUpFailed: the one that was named is none, or too old.
    """
    environment = dict(os.environ) if environment is None else environment
    if named := environment.get(PROGRAM):
        if judge(named) < OLDEST:
            raise SetUpFailed(
                f"{PROGRAM}={named} is no Terraform or OpenTofu of {OLDEST[0]}.{OLDEST[1]} or newer"
            )
        return Path(named)
    for name in ("tofu", "terraform"):
        if (path := shutil.which(name, path=environment.get("PATH"))) and judge(path) >= OLDEST:
            return Path(path)
    return None


def provide() -> Path:
    """Return the program.

    Raises:
        SetUpFailed: there is none; says what to do.
    """
    if found := find():
        return found
    raise SetUpFailed(
        f"neither OpenTofu nor Terraform of {OLDEST[0]}.{OLDEST[1]} or newer is here: install one, "
        f"or say where it is ({PROGRAM}=FILE)"
    )


def format_problems(root: Path) -> str:
    """Return what is not in the one format, as differences; the empty string if all is."""
    done = subprocess.run(
        [provide(), f"-chdir={FOLDER}", "fmt", "-check", "-diff", "-recursive", "-no-color"],
        cwd=root,
        env=os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return (done.stdout or f"ended with {done.returncode}") if done.returncode else ""
