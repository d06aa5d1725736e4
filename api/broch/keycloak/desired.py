"""What a realm for Broch looks like. Pure: names and settings as Keycloak writes them in its admin API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broch_api.signin.oidc.service import ATTEMPT_LIFETIME
from broch_api.signin.oidc.settings import BACK_CHANNEL, CALLBACK, GROUPS

FLOW = "broch browser"
PERSON = "broch password and second factor"
SECOND = "broch second factor"
KEY = "broch security key"
CODE = "broch one-time code"
_DAY_WORK = 12 * 3600
"""Seconds that a session lasts there: as long as Broch's own, so that it is still there to be ended and told of."""
_ATTEMPT = int(ATTEMPT_LIFETIME.total_seconds())

Json = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    realm: str
    client_id: str
    origin: str
    """Of Broch's pages, as browsers see them."""
    back_channel: str
    """Origin at which Keycloak itself reaches Broch; mostly the same."""
    admin_group: str = "broch-admins"


@dataclass(frozen=True)
class Step:
    """One execution of an authentication flow, or a flow inside it."""

    name: str
    """Provider id of an authenticator, or the alias of a flow when there are `steps`."""
    requirement: str
    steps: tuple[Step, ...] = ()
    config: Mapping[str, str] | None = None


def _method(reference: str) -> Mapping[str, str]:
    """Let the `amr` claim tell of an authenticator for as long as one sign-in may take, not for a whole session."""
    return {"default.reference.value": reference, "default.reference.maxAge": str(_ATTEMPT)}


BROWSER_FLOW = Step(
    FLOW,
    "REQUIRED",
    (
        Step("auth-cookie", "ALTERNATIVE"),
        Step(
            PERSON,
            "ALTERNATIVE",
            (
                Step("auth-username-password-form", "REQUIRED", config=_method("pwd")),
                Step(
                    SECOND,
                    "REQUIRED",
                    (
                        Step(
                            KEY,
                            "CONDITIONAL",
                            (
                                Step("conditional-user-configured", "REQUIRED"),
                                Step("webauthn-authenticator", "REQUIRED", config=_method("hwk")),
                            ),
                        ),
                        Step(
                            CODE,
                            "CONDITIONAL",
                            (
                                Step(
                                    "conditional-sub-flow-executed",
                                    "REQUIRED",
                                    config={"flow_to_check": KEY, "check_result": "not-executed"},
                                ),
                                # Required: who has none sets one up now, and signs in again with it.
                                Step("auth-otp-form", "REQUIRED", config=_method("otp")),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
)
"""Password, then a security key by whoever has one, else a one-time code. Nobody gets past the second."""


def realm_settings() -> Json:
    """Return the settings of the realm that Broch relies on."""
    return {
        "enabled": True,
        "sslRequired": "all",
        "registrationAllowed": False,
        "rememberMe": False,
        "duplicateEmailsAllowed": False,
        "editUsernameAllowed": False,
        "bruteForceProtected": True,
        "permanentLockout": False,
        "failureFactor": 5,
        "waitIncrementSeconds": 60,
        "maxFailureWaitSeconds": 900,
        "maxDeltaTimeSeconds": 43200,
        "passwordPolicy": "length(12) and notUsername(undefined) and notEmail(undefined) and passwordHistory(5)",
        "otpPolicyType": "totp",
        "otpPolicyCodeReusable": False,
        "defaultSignatureAlgorithm": "RS256",
        "revokeRefreshToken": True,
        "refreshTokenMaxReuse": 0,
        "accessTokenLifespan": 60,
        "accessCodeLifespan": 60,
        "accessCodeLifespanLogin": _ATTEMPT,
        "ssoSessionIdleTimeout": _DAY_WORK,
        "ssoSessionMaxLifespan": _DAY_WORK,
        "eventsEnabled": True,
        "adminEventsEnabled": True,
        "browserFlow": FLOW,
    }


def client(wanted: Wanted, secret: str) -> Json:
    """Return our client: code flow alone, with PKCE, and told when sessions end."""
    return {
        "clientId": wanted.client_id,
        "name": "Broch",
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "bearerOnly": False,
        "clientAuthenticatorType": "client-secret",
        "secret": secret,
        "standardFlowEnabled": True,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False,
        "consentRequired": False,
        "fullScopeAllowed": False,
        "frontchannelLogout": False,
        "rootUrl": wanted.origin,
        "baseUrl": "/",
        "redirectUris": [wanted.origin + CALLBACK],
        "webOrigins": [],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": wanted.origin + "/sign-in",
            "backchannel.logout.url": wanted.back_channel + BACK_CHANNEL,
            "backchannel.logout.session.required": "true",
            "id.token.signed.response.alg": "RS256",
            "oauth2.device.authorization.grant.enabled": "false",
            "oidc.ciba.grant.enabled": "false",
            "standard.token.exchange.enabled": "false",
            "use.refresh.tokens": "false",
            "tls.client.certificate.bound.access.tokens": "false",
        },
    }


SCOPES = ("acr", "basic", "profile")
"""Client scopes that we are given: subject and time of authentication, names, class. No mail address, no roles."""


def mappers() -> list[Json]:
    """Return the mappers of our client: groups and methods of authentication, into the ID token alone."""
    return [
        {
            "name": "groups",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-group-membership-mapper",
            "config": {
                "claim.name": "groups",
                # With the path: a group of the same name below another one, which others may make, gives nothing.
                "full.path": "true",
                **_ID_TOKEN,
            },
        },
        {
            "name": "methods",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-amr-mapper",
            "config": {**_ID_TOKEN},
        },
    ]


_ID_TOKEN = {
    "id.token.claim": "true",
    "access.token.claim": "false",
    "userinfo.token.claim": "false",
    "introspection.token.claim": "false",
}


def groups(wanted: Wanted) -> list[str]:
    """Return the groups whose members have roles on the platform."""
    return sorted({name for name in GROUPS if name != "broch-admins"} | {wanted.admin_group})
