"""`broch verify`: check released files against their receipt, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broch_core.proof.verify_cli import run_verify

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)


@app.command(
    "verify",
    epilog=(
        "Examples:\n\n"
        "  [bold]broch verify --trust trust.json receipt.json table.csv[/bold]\n\n"
        "  [bold]broch verify --trust trust.json --newer checkpoint.txt receipt.json table.csv[/bold]\n\n"
        "  [bold]broch verify --trust trust.json --recalls recalls.json receipt.json table.csv[/bold]\n\n"
        "  [bold]broch verify --trust trust.json certificate.json[/bold]\n\n"
        "Exit code: 0 verified, 1 not verified, 2 input that cannot be used."
    ),
)
def verify(
    receipt: Annotated[
        Path,
        typer.Argument(
            metavar="RECEIPT", help="receipt.json of the release, or certificate.json of a deletion."
        ),
    ],
    trust: Annotated[
        Path,
        typer.Option("--trust", metavar="FILE", help="Keys you trust, from elsewhere than the receipt."),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES...", help="Released files; none are needed for a certificate."),
    ] = None,
    newer: Annotated[
        Path | None,
        typer.Option("--newer", metavar="FILE", help="A newer signed checkpoint of the log."),
    ] = None,
    recalls: Annotated[
        Path | None,
        typer.Option("--recalls", metavar="FILE", help="A signed list of recalls: broch airlock recalls."),
    ] = None,
) -> None:
    """Check released files against their receipt, or a deletion certificate. Asks no server and trusts nobody but the keys in --trust."""
    code, lines = run_verify(trust, receipt, files or [], newer_checkpoint=newer, recalls_path=recalls)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(code)
