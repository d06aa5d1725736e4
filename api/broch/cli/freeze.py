"""`broch freeze` and `broch unfreeze`: stop the whole TRE, and let it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from broch.cli.calls import Call, command, confirm, group

freeze_app = group("Stop the whole TRE at once.", "broch freeze --reason 'An intrusion is looked into.'")
unfreeze_app = group("Let a frozen TRE go on.", "broch unfreeze")


@command(freeze_app, "freeze", "broch freeze --reason 'An intrusion is looked into.'")
def freeze(
    call: Call,
    reason: Annotated[str, typer.Option(help="Why; everybody who is signed in reads it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop workspaces, downloads and releases of all projects, and refuse new starts, until it is thawed."""
    if not yes:
        confirm("Freeze the whole TRE? Every workspace stops, and what is not saved in a notebook is lost.")
    begun = call.api.post("freeze", {"reason": reason})
    call.done(begun, f"The TRE is frozen: {begun['projects']} projects stop now. Undo: broch unfreeze")


@command(unfreeze_app, "unfreeze", "broch unfreeze")
def unfreeze(call: Call) -> None:
    """Let everything go on that the freeze stopped; projects that were frozen before stay so."""
    ended = call.api.delete("freeze")
    call.done(ended, "The TRE is not frozen any more.")
