"""Zones on one machine: one folder per project with the shared folder, the imports and everybody's private home.

What a zone's processes write is hostile to whoever reads it from outside: read only through
`broch_workspaces.sandbox.safe_open`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from broch_core import faults
from broch_core.blobs import chunks, sha256_of, sync_folder
from broch_core.errors import Conflict, NotFound
from broch_core.ids import new_id

_ID = re.compile(r"[0-9A-Z]{26}")


class FolderZones:
    """The zones below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _zone(self, project_id: str) -> Path:
        if not _ID.fullmatch(project_id):
            raise NotFound
        return self._root / project_id

    def _ready(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def project(self, project_id: str) -> Path:
        """Return the folder shared by the members (`/project`)."""
        return self._ready(self._zone(project_id) / "project")

    def imports(self, project_id: str) -> Path:
        """Return the folder of released imports (`/imports`, read-only inside)."""
        return self._ready(self._zone(project_id) / "imports")

    def home(self, project_id: str, person_id: str) -> Path:
        """Return a person's private home in the project (`/home/researcher`)."""
        if not _ID.fullmatch(person_id):
            raise NotFound
        return self._ready(self._zone(project_id) / "home" / person_id)

    def place_import(self, project_id: str, name: str, file: BinaryIO) -> None:
        """Put released bytes into `/imports` under a hygienic name, whole or not at all; never over another file.

        The same bytes under the same name again: done already is done.

        Raises:
            Conflict: the name is taken by other bytes.
        """
        folder = self.imports(project_id)
        inbox = self._ready(self._zone(project_id) / "inbox")
        waiting = inbox / new_id()
        with waiting.open("xb") as target:
            for data in chunks(file):
                target.write(data)
            target.flush()
            faults.point("import.sync")
            os.fsync(target.fileno())
        waiting.chmod(0o444)
        try:
            faults.point("import.link")
            os.link(waiting, folder / name)  # fails where rename(2) would replace
        except FileExistsError:
            # Only Broch writes here, so what lies there can be read as it is.
            with waiting.open("rb") as new, (folder / name).open("rb") as old:
                same = sha256_of(new) == sha256_of(old)
            if not same:
                raise Conflict(f"/imports already has a file named '{name}'.") from None
        finally:
            with suppress(FileNotFoundError):
                waiting.unlink()
        sync_folder(folder)

    def sweep(self) -> None:
        """Remove copies that a dead process left behind; for the start, before anybody places an import."""
        for left in self._root.glob("*/inbox/*"):
            left.unlink(missing_ok=True)

    def remove_import(self, project_id: str, name: str, sha256: str) -> None:
        """Take released bytes out of `/imports`; done already is done, and other bytes of that name stay."""
        path = self.imports(project_id) / name
        try:
            with path.open("rb") as file:
                same = sha256_of(file) == sha256
        except FileNotFoundError:
            return
        if same:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
