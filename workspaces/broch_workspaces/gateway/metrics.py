"""What the gateway counts."""

from __future__ import annotations

from broch_workspaces.own_pages import OwnCounts


class Counts(OwnCounts):
    """The gateway's own."""

    _PREFIX = "broch_gateway"
    _HELP = {  # noqa: RUF012 - see the base
        "passed": ("upstream", "Requests that were passed on, by who answers."),
        "refused": ("reason", "Requests that were refused, by why."),
        "reviews": ("answer", "Tokens that the API server was asked about, by its answer."),
    }

    def text(self, *, under_way: int) -> str:
        """Return all of them.

        Args:
            under_way: requests being passed on now.
        """
        return self._text({"requests": ("Requests under way.", under_way)})
