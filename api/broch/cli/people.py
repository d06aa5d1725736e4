"""`broch people`: who is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from broch.cli import output
from broch.cli.calls import Call, command, group
from broch_core.actors import PlatformRole

app = group(
    "Who is here, and in which role.", "broch people list", "broch people add noor --name 'Noor Adeyemi'"
)

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
_Row = Mapping[str, Any]


@command(app, "list", "broch people list")
def list_people(call: Call, limit: Limit = 50) -> None:
    """List people (administrator)."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "HANDLE": lambda row: row["handle"],
        "NAME": lambda row: row["display_name"],
        "ROLES": lambda row: ", ".join(row["roles"]) or "-",
        "SINCE": lambda row: output.when(row["created_at"]),
        "DISABLED": lambda row: output.when(row["disabled_at"]),
        "ABOUT": lambda row: row["about"] or "-",
    }
    call.rows(call.api.pages("people", limit=limit), columns, empty="Nobody is here.")


@command(app, "add", "broch people add noor --name 'Noor Adeyemi' --role reviewer")
def add(
    call: Call,
    handle: Annotated[str, typer.Argument(help="What they sign in with; it cannot be changed.")],
    name: Annotated[str, typer.Option(help="Their name.")],
    role: Annotated[
        list[PlatformRole] | None,
        typer.Option(help="For the whole platform; may be given several times. Researchers need none."),
    ] = None,
    about: Annotated[str, typer.Option(help="One line for colleagues.")] = "",
) -> None:
    """Add a person (administrator)."""
    body = {
        "handle": handle,
        "display_name": name,
        "about": about,
        "roles": [one.value for one in role or ()],
    }
    made = call.api.post("people", body)
    call.done(made, f"{made['display_name']} can sign in as {made['handle']} now.")


@command(app, "sign-out", "broch people sign-out ruth")
def sign_out(call: Call, handle: Annotated[str, typer.Argument(help="Their sign-in name.")]) -> None:
    """End all sessions of a person, and with them their workspaces (administrator).

    They can sign in again, unless the provider of identities keeps them out: disable them there first.
    """
    made = call.api.post("people/sign-out", {"handle": handle})
    call.done(made, f"{made['sessions']} sessions of {handle} are ended.")
