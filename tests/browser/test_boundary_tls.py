"""Whether workspaces can be framed from another registrable domain: yes, with partitioned cookies (docs/layout-tls.md)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.boundary_tls import HUB, OTHER_SHELL, SHELL, WORKSPACE, layout

from .conftest import FLAGS

OURS = {"__Host-part"}
"""Of the three cookies that hub and workspace set, the one that comes back."""


@pytest.mark.parametrize("phased_out", [False, True], ids=["as installed", "third-party cookies phased out"])
def test_a_workspace_on_another_registrable_domain_keeps_its_sign_in_in_a_frame(
    browser: Browser, tmp_path: Path, phased_out: bool
) -> None:
    with layout(tmp_path) as (made, digest):
        flags = [
            *FLAGS,
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "--host-resolver-rules=MAP *.test 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={digest}",
            *(["--test-third-party-cookie-phaseout"] if phased_out else []),
        ]
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        with browser.browser_type.launch_persistent_context(
            tmp_path / "profile", executable_path=program, args=flags
        ) as context:

            def look(top: str) -> dict[str, set[str]]:
                made.seen.clear()
                page = context.new_page()
                page.goto(made.at(top))
                page.wait_for_function("document.title === 'done'", timeout=20_000)
                page.close()
                return dict(made.seen)

            first, again, elsewhere = look(SHELL), look(SHELL), look(OTHER_SHELL)
    # The hub's state comes back after the way over the shell, where the shell's own cookie is there in the frame too.
    assert first[f"{SHELL} /authorize"] == {"__Host-shell"}
    assert first[f"{HUB} /callback"] == OURS
    assert first[f"{WORKSPACE} /lab"] == set()
    for path in ("/api", "/socket"):
        assert first[f"{WORKSPACE} {path}"] == OURS
    assert again[f"{HUB} /begin"] == again[f"{WORKSPACE} /lab"] == OURS
    # Nothing of it is there under another page, and the workspace cannot set a cookie for the shell.
    assert elsewhere[f"{WORKSPACE} /lab"] == set()
    assert all("tossed" not in names for seen in (first, again, elsewhere) for names in seen.values())
    assert again[f"{SHELL} /"] == {"__Host-shell"}
