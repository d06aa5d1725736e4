"""`broch doctor`: what is missing, and the one command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from broch import doctor as examination
from broch_core.settings import Settings


def doctor(
    folder: Annotated[Path | None, typer.Option("--dir", help="Folder of state to look at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to try.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try what `broch up` needs, say what is missing and the one command that mends it. Exit status 1 if it is needed."""
    given: dict[str, Any] = {"folder": folder.absolute() if folder else None, "port": port}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    findings = examination.examine(settings)
    if as_json:
        typer.echo(examination.as_json(findings))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            mark = (
                "[green]ok[/]     "
                if finding.ok
                else "[red]missing[/]"
                if finding.needed
                else "[yellow]note[/]   "
            )
            console.print(f"{mark} {finding.name}: {finding.says}")
            if not finding.ok and finding.remedy:
                console.print(f"        {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok or not finding.needed for finding in findings) else 1)
