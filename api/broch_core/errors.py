"""Domain errors. Each carries what a person needs; one file (`broch_core.web.problems`) maps them to RFC 9457."""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """Something the caller asked for cannot be; `detail` says why and what to do, for the person who reads it."""

    status: ClassVar[int] = 400
    kind: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "This request cannot be carried out"

    def __init__(self, detail: str, *, remedy: str | None = None, **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.facts = facts


class Invalid(DomainError):
    """The content of a request breaks a rule."""

    status = 422
    kind = "invalid"
    title = "Something in the request is not valid"


class Unauthenticated(DomainError):
    """Nobody is signed in, or the session has ended."""

    status = 401
    kind = "sign-in-needed"
    title = "Sign in first"


class Denied(DomainError):
    """A rule says no to this actor."""

    status = 403
    kind = "denied"
    title = "You may not do this"


class NotFound(DomainError):
    """It does not exist, or this actor may not know that it does."""

    status = 404
    kind = "not-found"
    title = "Not found"

    def __init__(
        self,
        detail: str = "There is nothing with this id, or you may not see it.",
        *,
        remedy: str | None = None,
        **facts: object,
    ) -> None:
        super().__init__(detail, remedy=remedy, **facts)


class Conflict(DomainError):
    """The state has moved on, or a name is taken."""

    status = 409
    kind = "conflict"
    title = "This no longer fits the present state"


class Gone(DomainError):
    """It existed and has been used up or has expired."""

    status = 410
    kind = "gone"
    title = "This has expired or was used already"


class TooLarge(DomainError):
    """A size is above its limit."""

    status = 413
    kind = "too-large"
    title = "Too large"


class TooMany(DomainError):
    """Too many requests or things at once."""

    status = 429
    kind = "too-many"
    title = "Too many"


class Unavailable(DomainError):
    """A part that is needed does not answer. Fail closed."""

    status = 503
    kind = "unavailable"
    title = "A part that is needed is not available"


class UnauditedChange(RuntimeError):
    """A transaction changed rows without an audit record: a defect, so it is rolled back (design, rule 3)."""
