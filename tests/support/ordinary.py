"""Doing things as an ordinary user when the tests are root: Broch never checks, shows or starts anything as root."""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from broch_workspaces.sandbox.account import drop_privileges
from broch_workspaces.sandbox.runtime import interpreter_folders, package_folders

T = TypeVar("T")
PACKAGES = ("broch_airlock", "broch_workspaces", "broch_core")


def become_ordinary(folder: Path) -> None:
    """Give up root in this process, for good; `folder` stays writable."""
    tests = Path(__file__).parents[1]
    drop_privileges([*interpreter_folders(), *package_folders(PACKAGES), tests], [folder])


def as_ordinary(folder: Path, action: Callable[[], T]) -> T:
    """Do it in a child without root; what it returns or raises comes back."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        with contextlib.suppress(BaseException):
            answer: tuple[bool, Any]
            try:
                become_ordinary(folder)
                answer = (True, action())
            except BaseException:  # noqa: BLE001 (a forked child reports everything and never returns)
                answer = (False, traceback.format_exc())
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
            status = 0
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    done, value = pickle.loads(content)
    assert done, value
    return value
