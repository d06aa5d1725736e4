"""Why a sign-in by a provider fails, in words for the person who wants in."""

from __future__ import annotations

from broch_core.errors import Denied, DomainError, Gone, NotFound, Unavailable

AGAIN = "Go to the start and sign in again."


class TokenRefused(Exception):
    """A token proves nothing. The reason is a word for logs, never the token's own text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoProvider(NotFound):
    """This installation has no provider."""

    def __init__(self) -> None:
        super().__init__("Nobody signs in by an OpenID provider here (setting `oidc_issuer`).")


class ProviderAway(Unavailable):
    """The provider does not answer, or not as it must."""

    title = "Your organisation's sign-in does not answer"

    def __init__(self) -> None:
        super().__init__(
            "Broch could not reach the service that checks who you are, so nobody can sign in now.",
            remedy="Try again in a minute. If it stays so, tell your administrator.",
        )


class AttemptOver(Gone):
    """Nothing that this browser began waits for this answer."""

    title = "This sign-in has expired or was used already"

    def __init__(self) -> None:
        super().__init__(
            "A sign-in lasts ten minutes, works once, and only in the browser that began it.", remedy=AGAIN
        )


class ProviderRefused(Denied):
    """The provider says no, or the person went back."""

    title = "Your organisation did not sign you in"

    def __init__(self, code: str) -> None:
        super().__init__(f"Your organisation's sign-in answered '{code}'.", remedy=AGAIN)


class NotProven(Denied):
    """What came back does not prove who is there."""

    title = "Your sign-in could not be verified"

    def __init__(self) -> None:
        super().__init__(
            "What your organisation's sign-in sent does not prove that you signed in there, for Broch, just now.",
            remedy=f"{AGAIN} If it stays so, tell your administrator.",
        )


class SecondFactorMissing(Denied):
    """Only one factor was used."""

    title = "A second factor is needed"

    def __init__(self) -> None:
        super().__init__(
            "You signed in without a second factor, or your organisation's sign-in does not say that you used one.",
            remedy="If you have just set one up, sign in again and use it. Otherwise add a one-time code or a "
            "security key to your account, or ask your administrator.",
        )


class PersonDisabled(Denied):
    """Whom the provider vouches for is disabled here."""

    title = "Your access to Broch has ended"

    def __init__(self) -> None:
        super().__init__(
            "Your organisation knows you, but your access to Broch was ended.",
            remedy="Ask the administrators of this Broch.",
        )


class LogoutRefused(DomainError):
    """A logout token that proves nothing (OpenID Connect Back-Channel Logout 1.0, 2.8 asks for 400)."""

    kind = "logout-refused"
    title = "This logout token is not valid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The logout token is refused: {reason}.")
