"""What was made before: one folder for each set of inputs, below `$XDG_CACHE_HOME/broch-images`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

KEPT_SECONDS = 14 * 24 * 3600
"""A folder that nobody used for so long is removed."""


def place() -> Path:
    """Return the folder of this person's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "broch-images"


def key(kind: str, *inputs: object) -> str:
    """Return the name of the folder for `inputs`: other inputs, other name.

    Every input is a value that JSON can say, or the path of a file whose bytes count.
    """
    said = [hashlib.sha256(one.read_bytes()).hexdigest() if isinstance(one, Path) else one for one in inputs]
    return f"{kind}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]}"


class Cache:
    """Folders by key. A folder appears whole or not at all."""

    def __init__(self, root: Path, *, fresh: bool = False) -> None:
        self.root = root
        self._fresh = fresh
        self._made: set[str] = set()
        root.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder `name`; `make` fills a new one if it is not there (or old ones are not wanted)."""
        found = self.root / name
        if found.is_dir() and (not self._fresh or name in self._made):
            os.utime(found)
            return found
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            new.chmod(0o755)
            make(new)
            if found.exists():
                shutil.rmtree(found)
            new.rename(found)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        self._made.add(name)
        return found

    def prune(self) -> None:
        """Remove what nobody used for long, and what an interrupted build left."""
        oldest = time.time() - KEPT_SECONDS
        for folder in self.root.iterdir():
            if folder.is_dir() and (folder.name.startswith(".new-") or folder.stat().st_mtime < oldest):
                shutil.rmtree(folder, ignore_errors=True)
