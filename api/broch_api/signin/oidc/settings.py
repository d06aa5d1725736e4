"""What is known of the provider before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from broch_api.internal.credentials import secret
from broch_core.actors import PlatformRole
from broch_core.settings import Settings

CALLBACK = "/sign-in/callback"
BACK_CHANNEL = "/sign-in/back-channel-logout"
GROUPS: Mapping[str, PlatformRole] = MappingProxyType(
    {
        "broch-admins": PlatformRole.ADMIN,
        "broch-stewards": PlatformRole.STEWARD,
        "broch-reviewers": PlatformRole.REVIEWER,
        "broch-owners": PlatformRole.ASSET_OWNER,
    }
)
"""Group at the provider -> platform role of its members."""


@dataclass(frozen=True)
class OidcSettings:
    """One provider, and who we are to it."""

    issuer: str
    """As in tokens, to the letter: `https://id.example.org/realms/broch`."""
    client_id: str
    secret: str = field(repr=False)
    origin: str
    """Of our pages, as browsers see them."""
    mfa: frozenset[str]
    """Values of `amr` or `acr`, one of which says that a second factor was used. None: nobody may sign in."""
    ca: Path | None = None
    """Certificate authority of the provider, PEM; those of the system if there is none."""
    groups: Mapping[str, PlatformRole] = field(default_factory=lambda: GROUPS)

    @classmethod
    def load(cls, settings: Settings) -> Self | None:
        """Return the provider that the settings name, with the secret beside the service tokens; none if none is named.

        Raises:
            OSError: there is no secret.
            ValueError: the secret is empty.
        """
        if settings.oidc_issuer is None:
            return None
        others = {name: role for name, role in GROUPS.items() if role is not PlatformRole.ADMIN}
        return cls(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            secret=secret(settings.secrets_folder, "oidc"),
            origin=settings.shell_origin,
            mfa=frozenset(settings.oidc_mfa),
            ca=settings.oidc_ca,
            groups=others | {settings.oidc_admin_group: PlatformRole.ADMIN},
        )

    @property
    def callback(self) -> str:
        """Address that the provider sends browsers back to."""
        return self.origin + CALLBACK

    @property
    def after_sign_out(self) -> str:
        """Address that the provider sends browsers to once they are signed out there."""
        return self.origin + "/sign-in"
