"""The files of ours that a workspace sees, the same on one machine and in images. Standard library only.

`python lab_files.py FOLDER` writes them below a folder: images are made with it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

LAB = "/opt/broch/lab.py"
PACKAGES = "/opt/broch/packages.py"
R_PROFILE = "/opt/broch/Rprofile"
PIP = "/opt/venv/pip.conf"
AIRLOCK = "/opt/broch/bin/airlock"
SETTINGS = "/opt/broch/settings"
SERVER = "/opt/broch/server/broch_inside"
"""Our part of the notebook server, as a package."""
SHARED = "/opt/broch/shared"
"""Folder of settings that a shared workspace has besides."""
NOTICES = "/opt/broch/labextensions/broch-notices"
"""Our part of Lab's page: a prebuilt extension, written by hand."""
_INSIDE = Path(__file__).parent / "inside"
_LAB_OFF = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/filebrowser-extension:download",
    "@jupyterlab/docmanager-extension:download",
    "@jupyterlab/extensionmanager-extension",
    "@jupyterlab/lsp-extension",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/notebook-extension:language-server",
    "@jupyterlab/hub-extension",
    "@jupyter/collaboration-extension:shared-link",
)
"""Parts of Lab that reach outside, offer what the proxy refuses, or ask for what is not there (language servers, pages
of the hub). Convenience only: the proxy is the wall."""
_TOGETHER = ("@jupyter/collaboration-extension", "@jupyter/docprovider-extension")
"""Parts of Lab by which people write together: off, but in a shared workspace."""
_NOTICES_PACKAGE = {
    "name": "broch-notices",
    "version": "1.0.0",
    "description": "Says when this workspace ends, and saves before.",
    "jupyterlab": {"extension": True, "_build": {"load": "static/notices.js", "extension": "./extension"}},
}
"""What JupyterLab reads of a prebuilt extension (jupyterlab_server.config.get_federated_extensions)."""
_OVERRIDES = {"@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 30}}
"""Lab's defaults that are not ours. Seconds between two saves by itself: what an end without warning costs at most."""


_R_PROFILE = """\
# Packages come from the zone's package route, and are installed into the home.
local({
  options(
    repos = c(CRAN = "http://127.0.0.1:8899/packages/cran"),
    timeout = 1900,
    download.file.method = "libcurl"
  )
  own <- Sys.getenv("R_LIBS_USER")
  if (nzchar(own) && (dir.exists(own) || dir.create(own, recursive = TRUE, showWarnings = FALSE)))
    .libPaths(c(own, .libPaths()))
})
"""
_PIP = "[install]\nprefix = /home/researcher/.local\n"
"""Of this one environment, which nobody can write: what a researcher makes with `python -m venv` does not read it."""


@dataclass(frozen=True)
class LabFile:
    """One file inside a workspace."""

    path: str
    data: bytes
    mode: int = 0o444


def lab_files() -> tuple[LabFile, ...]:
    """Return what starts in a workspace, the command `airlock`, our parts of server and page, and Lab's settings."""
    return (
        LabFile(LAB, (_INSIDE / "lab.py").read_bytes()),
        LabFile(AIRLOCK, (_INSIDE / "airlock.py").read_bytes(), 0o555),
        LabFile(f"{SERVER}/__init__.py", b""),
        *(
            LabFile(f"{SERVER}/{name}.py", (_INSIDE / f"{name}.py").read_bytes())
            for name in ("activity", "idle", "notices")
        ),
        LabFile(f"{NOTICES}/package.json", json.dumps(_NOTICES_PACKAGE).encode()),
        LabFile(f"{NOTICES}/static/notices.js", (_INSIDE / "notices.js").read_bytes()),
        LabFile(f"{SETTINGS}/overrides.json", json.dumps(_OVERRIDES).encode()),
        LabFile(
            "/etc/jupyter/labconfig/page_config.json",
            json.dumps({"disabledExtensions": dict.fromkeys((*_LAB_OFF, *_TOGETHER), True)}).encode(),
        ),
        LabFile(
            f"{SHARED}/labconfig/page_config.json",
            json.dumps({"disabledExtensions": dict.fromkeys(_TOGETHER, False)}).encode(),
        ),
    )


def image_files() -> tuple[LabFile, ...]:
    """Return what images have besides: the way to the package route, which there is on clusters alone."""
    return (
        *lab_files(),
        LabFile(PACKAGES, (_INSIDE / "packages.py").read_bytes()),
        LabFile(R_PROFILE, _R_PROFILE.encode()),
        LabFile(PIP, _PIP.encode()),
    )


def write(root: Path) -> None:
    """Write what images have below `root`."""
    for file in image_files():
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
