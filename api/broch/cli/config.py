"""`broch config`: every setting, its value, where it can be set, and why it is as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from broch.cli.configured import load_settings
from broch_core.settings import Settings


def config(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table of all settings and their defaults.")
    ] = False,
) -> None:
    """Print every setting with its unit, value and reason. Secrets stay hidden.

    Set one by an environment variable (BROCH_PORT=9000) or in the TOML file that BROCH_CONFIG names (port = 9000).
    """
    settings = load_settings()
    rows = [
        {
            "name": name,
            "variable": f"BROCH_{name.upper()}",
            "value": _shown(getattr(settings, name)),
            "default": None if field.default_factory else _shown(field.default),
            "says": " ".join((field.description or "").split()),
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if as_markdown:
        typer.echo(_table(rows))
        return
    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        console.print(f"[bold]{row['variable']}[/] = {escape(str(row['value']))}")
        console.print(f"    {row['says']}", markup=False)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the settings as the table that docs/operations.md holds."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = "by user" if row["default"] is None else f"`{row['default']}`"
        lines.append(f"| `{row['variable']}` | {default} | {row['says'].replace('|', '/')} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set, hidden)"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.12g} s"
    return "(not set)" if value is None else str(value)
