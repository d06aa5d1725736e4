"""Whether a browser keeps a workspace's page to its own host, and what a project says when it does not. Pure."""

from __future__ import annotations

from enum import StrEnum

from broch_core.rules import Decision, allow, deny


class BrowserPolicy(StrEnum):
    """What a project says to a browser without `Connection-Allowlist`."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"


MISSING = (
    "This browser does not know Connection-Allowlist: a page in a workspace could send out names by DNS, packets by "
    "WebRTC, and one address with each click that opens a tab."
)
UNKNOWN = "Broch could not tell at your sign-in whether this browser knows Connection-Allowlist."
REMEDY = "Use a current Chromium, Chrome or Edge (version 156 or newer), and sign in again there."


def shortcoming(confined: bool | None) -> str | None:  # noqa: FBT001 (it is what the session says)
    """Return what is wrong with a browser.

    Args:
        confined: what was seen at sign-in; nothing when it could not be told.
    """
    return None if confined else UNKNOWN if confined is None else MISSING


def may_enter(policy: BrowserPolicy, confined: bool | None) -> Decision:  # noqa: FBT001
    """Tell whether a browser may show a workspace of a project."""
    if policy is BrowserPolicy.REFUSE and (lack := shortcoming(confined)) is not None:
        return deny(f"{lack} This project asks for it. {REMEDY}")
    return allow()
