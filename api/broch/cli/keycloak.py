"""`broch keycloak`: make a Keycloak fit for Broch, and end sessions there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from broch.cli import output
from broch.cli.failure import Failure, Unreachable

app = typer.Typer(help="The OpenID provider that people sign in with.", no_args_is_help=True)
_SHORTEST_SECRET = 32
_UNAUTHORIZED = 401
_NOT_LET_IN = (b'"invalid_grant"', b'"invalid_client"', b'"unauthorized_client"')
"""Errors of the token endpoint (RFC 6749, 5.2), which come with 400 or 401."""

Url = Annotated[str, typer.Option(help="Keycloak itself, such as https://id.example.org.")]
AdminPassword = Annotated[
    Path, typer.Option(help="File with the password of the administrator, or the secret with --admin-client.")
]
Admin = Annotated[str, typer.Option(help="Name of an administrator of Keycloak.")]
AdminClient = Annotated[
    str | None, typer.Option(help="Sign in as this client's service account instead of an administrator.")
]
AdminRealm = Annotated[str, typer.Option(help="Realm that the administrator belongs to.")]
Ca = Annotated[Path | None, typer.Option(help="Certificate authority of Keycloak, PEM.")]


@app.callback()
def keycloak() -> None:
    """Make a Keycloak fit for Broch, and end sessions there."""


@app.command(epilog="broch keycloak setup --url https://id.example.org --broch https://tre.example.org ...")
def setup(  # noqa: PLR0913, PLR0917 - each is an option of its own
    url: Url,
    broch: Annotated[
        str, typer.Option(help="Broch's pages as browsers see them, such as https://tre.example.org.")
    ],
    client_secret: Annotated[
        Path, typer.Option(help="File with the secret of Broch's client; what Broch reads as `oidc`.")
    ],
    admin_password: AdminPassword,
    admin: Admin = "admin",
    admin_client: AdminClient = None,
    admin_realm: AdminRealm = "master",
    realm: Annotated[str, typer.Option(help="Realm of Broch's people; made if it is not there.")] = "broch",
    client_id: Annotated[str, typer.Option(help="Name of Broch's client.")] = "broch",
    back_channel: Annotated[
        str | None,
        typer.Option(help="Where Keycloak reaches Broch to end sessions; else the address of --broch."),
    ] = None,
    admin_group: Annotated[str, typer.Option(help="Group of the platform admins.")] = "broch-admins",
    ca: Ca = None,
) -> None:
    """Make realm, client, groups and a sign-in with a second factor; say what was changed.

    Run it again after an upgrade of either: what fits already is left alone. Other realms, people and their
    credentials are never touched. Secrets are read from files and go nowhere else.
    """
    from broch.keycloak.desired import Wanted  # noqa: PLC0415 - as below
    from broch.keycloak.setup import set_up  # noqa: PLC0415 - as below

    for given in (broch, back_channel or broch):
        _require_tls(given)
    secret = _secret(client_secret)
    if len(secret) < _SHORTEST_SECRET:
        raise Failure(
            f"The secret in {client_secret} has fewer than {_SHORTEST_SECRET} characters.",
            "Make one: openssl rand -hex 32",
        )
    origin = broch.rstrip("/")
    wanted = Wanted(realm, client_id, origin, (back_channel or origin).rstrip("/"), admin_group)
    changes = 0
    with _administrator(url, admin_password, admin, admin_client, admin_realm, ca) as there:
        for line in set_up(there, wanted, secret):
            output.say(output.plain(line))
            changes += 1
    output.say(f"{changes} changes." if changes else "Everything was as it should be.")
    output.say(f"Broch needs: BROCH_OIDC_ISSUER={url.rstrip('/')}/realms/{realm}")


@app.command("sign-out", epilog="broch keycloak sign-out ruth --url https://id.example.org ...")
def sign_out(
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="Their user name at Keycloak.")],
    url: Url,
    admin_password: AdminPassword,
    admin: Admin = "admin",
    admin_client: AdminClient = None,
    admin_realm: AdminRealm = "master",
    realm: Annotated[str, typer.Option(help="Realm of Broch's people.")] = "broch",
    ca: Ca = None,
) -> None:
    """End all sessions of somebody, there and in Broch, and with them their workspaces.

    Roles of somebody change at their next sign-in: this makes that now.
    """
    with _administrator(url, admin_password, admin, admin_client, admin_realm, ca) as there:
        there.change_current_realm(realm)
        person = there.get_user_id(username)
        if person is None:
            raise Failure(f"Nobody in the realm {realm} has the user name {username}.")
        ended = len(there.get_sessions(person))
        there.user_logout(person)
    output.say(
        f"{ended} sessions of {output.plain(username)} are ended at Keycloak, and in Broch those that began with them."
    )
    output.say("A session of Broch may outlive Keycloak's. To end all: broch people sign-out HANDLE")


@contextmanager
def _administrator(
    url: str, password: Path, admin: str, client: str | None, realm: str, ca: Path | None
) -> Iterator[Any]:
    """Be signed in at Keycloak's admin API; what it refuses is one line."""
    # Not before it is asked for: it takes a while to load.
    from keycloak import KeycloakAdmin, KeycloakConnectionError, KeycloakError  # noqa: PLC0415

    _require_tls(url)
    shown = _secret(password)
    who: dict[str, Any] = (
        {"username": admin, "password": shown}
        if client is None
        else {"client_id": client, "client_secret_key": shown}
    )
    trusted = str(ca) if ca else True
    try:
        yield KeycloakAdmin(
            server_url=url, realm_name=realm, user_realm_name=realm, verify=trusted, timeout=30, **who
        )
    except (KeycloakConnectionError, OSError):
        raise Unreachable(f"No Keycloak answers at {url}.", "Look at the address and at --ca.") from None
    except KeycloakError as error:
        said = error.response_body or b""
        if error.response_code == _UNAUTHORIZED or any(code in said for code in _NOT_LET_IN):
            raise Failure(
                "Keycloak does not let this administrator in.", "Look at name, realm and password."
            ) from None
        raise Failure(f"Keycloak refused: {error.error_message!r}", "Nothing more was changed.") from None


def _require_tls(address: str) -> None:
    if not address.startswith("https://"):
        raise Failure(f"{address} is no https address.", "Sign-in goes over TLS alone.")


def _secret(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o007:
            raise Failure(f"Everybody can read {path}.", f"chmod o= {path}")
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Failure(f"{path} cannot be read.") from None
    if not text:
        raise Failure(f"{path} is empty.")
    return text
