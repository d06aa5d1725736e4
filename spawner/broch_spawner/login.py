"""Signing in to the hub: OAuth 2.0 code flow with PKCE and state, the control plane being the authority.

The hub's user is the *principal* that the control plane names: one (person, project), or one stay in a shared workspace,
which may enter that one and nothing else. Contract: docs/workspaces.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jupyterhub import orm
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler
from pydantic import TypeAdapter, ValidationError
from tornado import web
from traitlets import Instance

from broch_core.web.texts import hidden_character
from broch_spawner.endpoint import AWAY, AnswerTooLong, Endpoint
from broch_spawner.entrances import ENTER, ENTRANCES
from broch_workspaces.plan import Principal

_PRINCIPAL = TypeAdapter[str](Principal)
_LONGEST_ANSWER = 64 << 10
_LONGEST_NAME = 120


def principal_asked_for(next_url: str) -> str | None:
    """Return the principal whose workspace a sign-in is for: a hint only, the control plane decides."""
    parts = urlsplit(next_url)
    found = re.match(r"/(?:hub/)?user/([^/]+)(?:/|$)", parts.path)
    named = (
        found[1]
        if found
        else parse_qs(parts.query).get("client_id", [""])[0].removeprefix("jupyterhub-user-")
    )
    try:
        return _PRINCIPAL.validate_python(named)
    except ValidationError:
        return None


class LoginHandler(OAuthLoginHandler):  # type: ignore[misc]
    """Starts the flow, and says which principal is asked for."""

    def authorize_redirect(self, *args: Any, **kwargs: Any) -> None:
        """Add `principal` to the authorisation request."""
        asked = principal_asked_for(self.get_argument("next", ""))
        if asked is not None:
            kwargs["extra_params"] = {**kwargs.get("extra_params", {}), "principal": asked}
        super().authorize_redirect(*args, **kwargs)


def shown_name(text: object) -> str | None:
    """Return a person's name as others in a shared workspace read it: one line, nothing hidden; None: there is none."""
    plain = "".join(
        "\N{REPLACEMENT CHARACTER}" if hidden_character(c) else c for c in str(text or "").strip()
    )
    return plain[:_LONGEST_NAME] or None


def _said(authenticated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the control plane said of who signs in."""
    said = (authenticated.get("auth_state") or {}).get("oauth_user")
    return said if isinstance(said, Mapping) else {}


class CallbackHandler(OAuthCallbackHandler):  # type: ignore[misc]
    """Ends the flow; who enters a shared workspace is let into that one, and sent on with a ticket to its host."""

    _enters: str | None = None

    async def auth_to_user(self, authenticated: dict[str, Any], user: Any = None) -> Any:
        """Take up a user that the control plane made, and no other.

        Raises:
            tornado.web.HTTPError: 403, the user was removed while it signed in; 503, the workspace does not run.
        """
        if user is None and self.find_user(authenticated["name"]) is None:
            raise web.HTTPError(403, self.authenticator.custom_403_message)
        known = await super().auth_to_user(authenticated, user)
        enters = _said(authenticated).get("enters")
        if enters is not None:
            self._admit(known, str(enters))
        return known

    def _admit(self, guest: Any, enters: str) -> None:
        owner = self.find_user(enters)
        server = owner.orm_spawners.get("") if owner is not None else None
        if server is None or self.find_user(guest.name) is None:
            raise web.HTTPError(503, "The shared workspace is not running.")
        scopes = frozenset({f"access:servers!server={enters}/"})
        orm.Share.grant(self.db, server, guest.orm_user, scopes=scopes)
        ENTRANCES.admit(guest.name, enters)
        self._enters = enters

    def get_next_url(self, user: Any = None) -> str:
        """Send who enters a shared workspace to its own host, and others where they wanted."""
        asked: str = super().get_next_url(user)
        if user is None or self._enters is None or not urlsplit(asked).path.startswith("/hub/user/"):
            return asked
        hub = urlsplit(self.authenticator.oauth_callback_url)
        ticket = ENTRANCES.ticket(user.name)
        return f"{hub.scheme}://{self._enters}.{hub.netloc}{ENTER}?code={ticket}"


class ControlPlaneAuthenticator(GenericOAuthenticator):  # type: ignore[misc]
    """Knows the control plane: the browser meets it on the shell's origin, the hub at its endpoint inside."""

    login_handler = LoginHandler
    callback_handler = CallbackHandler
    control = Instance(Endpoint, help="the control plane's internal API").tag(config=True)

    def normalize_username(self, username: str) -> str:
        """Take a principal as it is.

        Raises:
            tornado.web.HTTPError: 403, the name is not a principal.
        """
        try:
            return _PRINCIPAL.validate_python(username)
        except ValidationError:
            raise web.HTTPError(403, "The control plane did not name a workspace.") from None

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Give the hub the name by which others in a shared workspace know who it is."""
        name = shown_name(_said(auth_model).get("name"))
        if name is not None:
            auth_model["user_info"] = {"name": name, "display_name": name}
        return auth_model

    def add_user(self, user: Any) -> None:
        """Take up a user, also after a restart of the hub: then those who were in a shared workspace may go on."""
        super().add_user(user)
        for share in user.shared_with_me:
            ENTRANCES.admit(user.name, share.owner.name)

    def delete_user(self, user: Any) -> None:
        """Forget a user; who was in a shared workspace is cut off at once."""
        super().delete_user(user)
        ENTRANCES.end(user.name)

    async def httpfetch(
        self,
        url: str,
        label: str = "fetching",
        parse_json: bool = True,  # noqa: FBT001, FBT002 (the library's signature)
        raise_error: bool = True,  # noqa: ARG002, FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Call the token and userinfo endpoints at the control plane's endpoint, whatever host the address names.

        Raises:
            tornado.web.HTTPError: 403 when the control plane said no, 503 when it does not answer.
        """
        try:
            status, text = await self.control.call(
                kwargs.get("method", "GET"),
                urlsplit(url).path,
                limit=_LONGEST_ANSWER,
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    **(kwargs.get("headers") or {}),
                },
                data=kwargs.get("body"),
            )
        except (*AWAY, AnswerTooLong):
            raise web.HTTPError(503, "The control plane does not answer. Try again in a minute.") from None
        if status != 200:
            self.log.warning("login.refused label=%s status=%d", label, status)
            raise web.HTTPError(403, "The control plane refused this sign-in. Open the workspace again.")
        return json.loads(text) if parse_json else text
