"""`./broch test`: the layers of tests, chosen by name, run by one pytest.

`lint` comes first, then pytest over all other layers, so that its closing line is the last one printed.
A layer that cannot run here fails and says what to install; nothing is skipped in silence.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from broch.dev import lanes, lint, notes, packages, preparation

LINT = "lint"
ORDER = ("unit", "integration", "browser", "cluster")
"""The folders of tests/ that are layers, from fast to slow."""


class UnknownLayer(ValueError):
    """A layer was asked for that this checkout does not have."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What one run of `./broch test` does."""

    lint: bool
    layers: tuple[str, ...]
    """Folders of tests/, in `ORDER`."""


def existing(root: Path) -> tuple[str, ...]:
    """Return the layers of `root` that hold at least one test file."""
    return tuple(layer for layer in ORDER if any((root / "tests" / layer).rglob("test_*.py")))


def choose(asked: Sequence[str], available: Sequence[str]) -> Choice:
    """Return what to run: the layers `asked` for, all that are `available` if none is named.

    Raises:
        UnknownLayer: a name is no layer, or no such test exists yet.
    """
    unknown = [name for name in asked if name != LINT and name not in available]
    if unknown:
        known = ", ".join([LINT, *available])
        raise UnknownLayer(f"no such test layer: {', '.join(unknown)} (here are: {known})")
    wanted = asked or [LINT, *available]
    return Choice(LINT in wanted, tuple(layer for layer in available if layer in wanted))


SOURCES = ("api", "airlock", "spawner", "workspaces")
"""Folders of the product's own code."""


def compile_sources(root: Path) -> None:
    """Compile the product once: hundreds of services start in tests, and each would compile it anew for a second."""
    folders = [folder for folder in SOURCES if (root / folder).is_dir()]
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", *folders]
    subprocess.run(command, cwd=root, check=False)  # what does not compile is for its tests to tell


def run(root: Path, asked: Sequence[str], pytest_arguments: Sequence[str], *, nightly: bool) -> int:
    """Run the layers; return 0 only if every chosen layer ran and passed."""
    choice = choose(asked, existing(root))
    started = time.time()
    packages.provide(choice.layers)
    failures = []
    runnable = []
    for layer in choice.layers:
        if lacking := packages.missing([layer]):
            names = ", ".join(package.name for package in lacking)
            failures.append(f"layer {layer} did not run: {names} missing ({packages.remedy(lacking)})")
        else:
            runnable.append(layer)
    with preparation.beside(root, runnable) as prepared:
        if choice.lint and (failed := lint.run(root)):
            failures.append(f"lint failed: {', '.join(failed)}")
        if not runnable:
            for failure in failures:
                sys.stderr.write(f"{failure}\n")
            return 1 if failures else 0
        compile_sources(root)
        environment = {
            key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
        } | {
            notes.NOTES: json.dumps(failures),
            notes.STARTED: os.environ.get(notes.STARTED, str(started)),
            preparation.PREPARED: str(prepared),
            "BROCH_NIGHTLY": "1" if nightly else "0",
        }
        sys.stdout.flush()
        command = [sys.executable, "-m", "pytest", "-p", "broch.dev.notes", *lanes.options(runnable)]
        folders = [f"tests/{layer}" for layer in runnable]
        return subprocess.run(
            [*command, *folders, *pytest_arguments], cwd=root, env=environment, check=False
        ).returncode
