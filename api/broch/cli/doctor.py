"""`broch doctor`: what is missing, and the one command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from broch import doctor as examination
from broch.cli.configured import load_settings


def doctor(
    folder: Annotated[Path | None, typer.Option("--dir", help="Folder of state to look at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to try.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try what `broch up` needs, say what is missing and the one command that mends it. Exit status 1 if it is needed."""
    findings = examination.examine(load_settings(folder=folder, port=port))
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
            console.print(f"{mark} {finding.name}: {escape(finding.says)}")
            if not finding.ok and finding.remedy:
                console.print(f"        {escape(finding.remedy)}")
    raise typer.Exit(0 if all(finding.ok or not finding.needed for finding in findings) else 1)
