"""Errors as OAuth 2.0 spells them (RFC 6749, 4.1.2.1 and 5.2)."""

from __future__ import annotations

from enum import StrEnum

from broch_core.errors import DomainError


class Fault(StrEnum):
    """Error codes of the two endpoints."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    ACCESS_DENIED = "access_denied"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    INVALID_SCOPE = "invalid_scope"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code of RFC 6750, 3.1


class UntrustedClient(DomainError):
    """Client or redirect address are not ours: the answer must not be a redirect (RFC 6749, 4.1.2.1)."""

    status = 400
    kind = "untrusted-client"
    title = "This sign-in cannot be carried out"


class TokenRefused(Exception):
    """The token endpoint says no (RFC 6749, 5.2)."""

    def __init__(self, fault: Fault, description: str) -> None:
        super().__init__(description)
        self.fault = fault
        self.description = description
