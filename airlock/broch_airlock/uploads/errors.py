"""What can go wrong with bytes on their way in."""

from __future__ import annotations

from broch_core.errors import DomainError


class NoSpace(DomainError):
    """The disk that holds the bytes is nearly full (RFC 4918, 11.5)."""

    status = 507
    kind = "no-space"
    title = "There is no space left for this file"


class InUse(DomainError):
    """Somebody else is writing this upload at this moment (RFC 4918, 11.3)."""

    status = 423
    kind = "in-use"
    title = "This upload is being written already"


class WrongType(DomainError):
    """The body is not of the type that this address takes."""

    status = 415
    kind = "media-type"
    title = "The body has another media type"


class WrongTusVersion(DomainError):
    """The client speaks no version of tus that we speak."""

    status = 412
    kind = "tus-version"
    title = "This version of tus is not spoken here"
