"""Lock files, as package managers write them: what they ask for, and what cannot be taken from them. Pure.

A lock file comes from a person, so it is read as hostile: its size, depth and number of entries are bounded, nothing in
it is run, followed or fetched, and where a file may be is not believed: only name, version and digests are taken.
"""

from __future__ import annotations

from broch_workspaces.packages.locks.lock import LARGEST_LOCK, Lock, Locked, LockKind, Problem
from broch_workspaces.packages.locks.reading import KNOWN, parse_lock

__all__ = ["KNOWN", "LARGEST_LOCK", "Lock", "LockKind", "Locked", "Problem", "parse_lock"]
