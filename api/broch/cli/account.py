"""`broch login`, `logout`, `whoami`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from broch.cli import output
from broch.cli.calls import Call, Globals, command, epilog, group, server_address
from broch.cli.client import Api
from broch.cli.credentials import Credential, CredentialStore
from broch.cli.failure import Misused, Refused

login_app = group("Sign in")
logout_app = group("Sign out")
whoami_app = group("Say who is signed in")


@login_app.command("login", epilog=epilog("broch login --as ada"))
def login(
    context: typer.Context,
    handle: Annotated[str | None, typer.Option("--as", metavar="HANDLE", help="Who you are.")] = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Which Broch; else BROCH_SERVER.")] = None,
) -> None:
    """Sign in and keep the sign-in for the next commands. The demo asks for no password.

    The token goes to ~/.config/broch/credentials.json, which only you can read, and is never printed.
    """
    common = context.find_root().obj or Globals()
    who = handle or common.handle
    if who is None:
        raise Misused("Say who you are.", "For example: broch login --as ada")
    address = server_address(server or common.server)
    store = CredentialStore()
    before = store.get(address)
    with Api(address) as api:
        started = api.post("sessions", {"handle": who})
        store.put(address, Credential(started["token"], who, started["expires_at"]))
        if before is not None:
            _end(api, before.token)
    output.say(f"Signed in to {address} as {output.plain(who)} until {output.when(started['expires_at'])}.")


@logout_app.command("logout", epilog=epilog("broch logout"))
def logout(
    context: typer.Context,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Which Broch; else BROCH_SERVER.")] = None,
) -> None:
    """End the sign-in, here and at the server."""
    common = context.find_root().obj or Globals()
    address = server_address(server or common.server)
    store = CredentialStore()
    kept = store.get(address)
    if kept is None:
        output.say(f"Nobody is signed in to {address}.")
        return
    store.drop(address)
    with Api(address) as api:
        _end(api, kept.token)
    output.say(f"Signed out of {address}.")


def _end(api: Api, token: str) -> None:
    api.use(token)
    try:
        api.delete("sessions/current")
    except Refused as refusal:
        if refusal.status != 401:  # one that has ended already is what we want
            raise
    finally:
        api.use(None)


@command(whoami_app, "whoami", "broch whoami", "broch whoami --as ruth --json")
def whoami(call: Call) -> None:
    """Say who is signed in, with roles and projects of now."""
    session = call.api.get("sessions/current")
    call.show(session, lambda: _session(call, session))


def _session(call: Call, session: dict[str, Any]) -> None:
    person = session["person"]
    names = {item["id"]: item["slug"] for item in call.api.pages("projects", limit=200)}
    projects = [f"{names.get(id_, id_)} ({role})" for id_, role in session["memberships"].items()]
    output.details(
        {
            "person": f"{person['display_name']} ({person['handle']})",
            "roles": ", ".join(session["roles"]) or "none",
            "projects": ", ".join(sorted(projects)) or "none",
            "signed in until": output.when(session["expires_at"]),
            "server": call.api.server,
        }
    )
