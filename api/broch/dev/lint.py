"""`./broch lint`: what can be judged without running the code."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from broch.dev import images, lock, repository, terraform
from broch.dev.environment import SetUpFailed

Step = Callable[[Path], str]
"""Judges a checkout and returns what is wrong with it, or the empty string."""


def _tool(*command: str) -> Step:
    def step(root: Path) -> str:
        # The lint-imports script has no module to run, so all tools are taken from beside our Python.
        program = Path(sys.executable).with_name(command[0])
        done = subprocess.run(
            [program, *command[1:]],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return (done.stdout or f"ended with {done.returncode}") if done.returncode else ""

    return step


STEPS: dict[str, Step] = {
    "ruff format": _tool("ruff", "format", "--check", "."),
    "ruff check": _tool("ruff", "check", "."),
    "mypy": _tool("mypy", "--no-error-summary"),
    "import layers": _tool("lint-imports"),
    "terraform fmt": terraform.format_problems,
    "locks": lambda root: "\n".join([*lock.stale(root), *images.lock_problems(root)]),
    "machine traces": lambda root: "\n".join(repository.traces_in(root, repository.tracked(root))),
    "file length": lambda root: "\n".join(repository.too_long(root, repository.tracked(root))),
}


def run(root: Path) -> list[str]:
    """Run every step, print each with its time and what it found; return the names of those that failed."""
    failed = []
    for name, step in STEPS.items():
        started = time.monotonic()
        try:
            wrong = step(root).rstrip()
        except (OSError, SetUpFailed, subprocess.CalledProcessError) as problem:
            wrong = f"could not run: {problem}"
        verdict = "FAILED" if wrong else "ok"
        sys.stdout.write(f"lint  {name:<15} {verdict:<6} {time.monotonic() - started:6.1f} s\n")
        if wrong:
            failed.append(name)
            sys.stdout.write(f"{wrong}\n")
        sys.stdout.flush()
    return failed


def fix(root: Path) -> None:
    """Let ruff mend what it can."""
    for arguments in (["check", "--fix-only", "--quiet", "."], ["format", "--quiet", "."]):
        subprocess.run([Path(sys.executable).with_name("ruff"), *arguments], cwd=root, check=False)
