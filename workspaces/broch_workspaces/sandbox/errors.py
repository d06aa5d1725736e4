"""Why a sandbox cannot be had here, and the one command that mends it."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """What stands between this machine and a sandbox."""

    NOT_LINUX = "not_linux"
    UNKNOWN_MACHINE = "unknown_machine"
    AS_ROOT = "as_root"
    NO_BUBBLEWRAP = "no_bubblewrap"
    OLD_BUBBLEWRAP = "old_bubblewrap"
    USER_NAMESPACES_OFF = "user_namespaces_off"
    APPARMOR = "apparmor"
    NETWORK_VISIBLE = "network_visible"
    UNREACHABLE_PATH = "unreachable_path"
    FOREIGN_STATE = "foreign_state"
    BROKER = "broker"
    FAILED = "failed"


class SandboxUnavailable(RuntimeError):
    """No sandbox, therefore no workspace and no check: Broch never runs either without one.

    Args:
        cause: one of the known causes.
        what: one sentence for a person.
        remedy: the command or step that mends it.
    """

    def __init__(self, cause: Cause, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.cause = cause
        self.what = what
        self.remedy = remedy


class CgroupUnavailable(RuntimeError):
    """No control group bounds workspaces here, and why; the watchdog does instead."""
