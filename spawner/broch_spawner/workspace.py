"""From a spawn plan to the sandbox of one workspace (pure but for looking whether folders are what they seem)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from broch_spawner.lab_files import lab_files
from broch_spawner.planned import PlanRefused
from broch_workspaces.plan import Mount, SpawnPlan
from broch_workspaces.sandbox import runtime
from broch_workspaces.sandbox.bounds import limits_of, quotas_of
from broch_workspaces.sandbox.profile import Bind, DataFile, Link, SandboxProfile, Tmpfs
from broch_workspaces.sandbox.watchdog import Quota

HOME = "/home/researcher"
HUB_SOCKET = "/run/hub/hub.sock"
_DATA = re.compile(r"/data/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _own_folder(source: str, roots: tuple[Path, ...]) -> Path:
    """Return `source` when it is a real folder of ours, reached without any link."""
    path = Path(source)
    inside = path.is_absolute() and any(path != root and path.is_relative_to(root) for root in roots)
    if not inside or os.path.realpath(path) != str(path) or not path.is_dir():
        raise PlanRefused("The plan names a folder that is not Broch's own.")
    return path


def _bind(mount: Mount, state_dir: Path) -> Bind:
    data, zones = (state_dir / "datasets",), (state_dir / "zones",)
    if _DATA.fullmatch(mount.target) and mount.read_only:
        return Bind(_own_folder(mount.source, data), mount.target)
    if mount.target == "/imports" and mount.read_only:
        return Bind(_own_folder(mount.source, zones), mount.target)
    if mount.target == "/project":
        return Bind(_own_folder(mount.source, zones), mount.target, read_only=mount.read_only)
    raise PlanRefused(f"The plan asks for {mount.target}, which a workspace never gets that way.")


def workspace_profile(
    plan: SpawnPlan, *, state_dir: Path, door_dir: Path, hub_socket: Path, env: Mapping[str, str]
) -> SandboxProfile:
    """Return what the workspace of `plan` is made of.

    Args:
        plan: what the control plane allows.
        state_dir: folder of the installation, as a real path; every mount must lie in its `datasets` or `zones`.
        door_dir: folder of the airlock door's socket. The folder and not the socket is bound, so that the door may
            restart.
        hub_socket: socket of this workspace's own narrow way to the hub.
        env: environment from JupyterHub, already cut down.

    Raises:
        PlanRefused: the plan asks for more than a workspace may have.
    """
    profile = plan.profile
    python = f"{sys.prefix}/bin"
    # A shared workspace has neither a home nor a door; the spawner asked for neither in its plan.
    home = None if plan.home is None else _own_folder(plan.home, (state_dir / "zones",))
    return SandboxProfile(
        binds=(
            *runtime.runtime_binds(),
            *(_bind(mount, state_dir) for mount in plan.mounts),
            *(() if home is None else (Bind(home, HOME, read_only=False), Bind(door_dir, "/run/broch/door"))),
            Bind(hub_socket, HUB_SOCKET),
        ),
        links=(
            *runtime.system_links(),
            *(() if home is None else (Link("/run/broch/door.sock", "door/door.sock"),)),
        ),
        files=(
            *runtime.system_files(),
            *(() if home is None else (DataFile("/run/broch/token", plan.door_token.encode(), 0o400),)),
            *(DataFile(file.path, file.data, file.mode) for file in lab_files()),
        ),
        tmpfs=(
            Tmpfs("/tmp", profile.tmp_bytes),  # noqa: S108 (inside)
            Tmpfs("/dev/shm", min(profile.tmp_bytes, 1 << 30)),  # noqa: S108 (inside)
            *((Tmpfs(HOME, profile.tmp_bytes),) if home is None else ()),
        ),
        folders=("/data",),
        env={
            **env,
            "HOME": HOME,
            "USER": "researcher",
            "LOGNAME": "researcher",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": f"/opt/broch/bin:{python}:/usr/bin:/bin",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "BROCH_PROJECT": plan.project_name,
        },
        limits=limits_of(profile),
        chdir=HOME,
        hostname="workspace",
    )


def workspace_quotas(plan: SpawnPlan) -> tuple[Quota, ...]:
    """Return what the folders that the workspace writes to may hold."""
    shared = (mount.source for mount in plan.mounts if mount.target == "/project" and not mount.read_only)
    project = next(shared, None)
    return quotas_of(
        plan.profile, home=Path(plan.home) if plan.home else None, project=Path(project) if project else None
    )
