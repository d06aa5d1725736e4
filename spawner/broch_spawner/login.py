"""Signing in to the hub: OAuth 2.0 code flow with PKCE and state, the control plane being the authority.

The hub's user is the *principal*, one (person, project), that the control plane names. Contract: docs/workspaces.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthLoginHandler
from pydantic import TypeAdapter, ValidationError
from tornado import web
from traitlets import Unicode

from broch_spawner import uds
from broch_workspaces.plan import Principal

_PRINCIPAL = TypeAdapter[str](Principal)
_LONGEST_ANSWER = 64 << 10


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


class ControlPlaneAuthenticator(GenericOAuthenticator):  # type: ignore[misc]
    """Knows the control plane: the browser meets it on the shell's origin, the hub on its unix socket."""

    login_handler = LoginHandler
    control_socket = Unicode(help="run/control.sock of the control plane").tag(config=True)

    def normalize_username(self, username: str) -> str:
        """Take a principal as it is.

        Raises:
            tornado.web.HTTPError: 403, the name is not a principal.
        """
        try:
            return _PRINCIPAL.validate_python(username)
        except ValidationError:
            raise web.HTTPError(403, "The control plane did not name a workspace.") from None

    async def httpfetch(
        self,
        url: str,
        label: str = "fetching",
        parse_json: bool = True,  # noqa: FBT001, FBT002 (the library's signature)
        raise_error: bool = True,  # noqa: ARG002, FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Call the token and userinfo endpoints over the unix socket, whatever host the address names.

        Raises:
            tornado.web.HTTPError: 403 when the control plane said no, 503 when it does not answer.
        """
        try:
            status, text = await uds.call(
                Path(self.control_socket),
                kwargs.get("method", "GET"),
                urlsplit(url).path,
                limit=_LONGEST_ANSWER,
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    **(kwargs.get("headers") or {}),
                },
                data=kwargs.get("body"),
            )
        except (*uds.AWAY, uds.AnswerTooLong):
            raise web.HTTPError(503, "The control plane does not answer. Try again in a minute.") from None
        if status != 200:
            self.log.warning("login.refused label=%s status=%d", label, status)
            raise web.HTTPError(403, "The control plane refused this sign-in. Open the workspace again.")
        return json.loads(text) if parse_json else text
