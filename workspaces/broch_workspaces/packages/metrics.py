"""What the package route counts."""

from __future__ import annotations

from broch_workspaces.own_pages import OwnCounts


class Counts(OwnCounts):
    """The route's own. Some labels are hosts of the settings."""

    _PREFIX = "broch_packages"
    _HELP = {  # noqa: RUF012 - see the base
        "served": ("kind", "Files that were served, by ecosystem."),
        "served_bytes": ("kind", "Their bytes."),
        "indexes": ("kind", "Indexes that were made from lists, by ecosystem."),
        "refused": ("reason", "Requests that were refused, by why."),
        "files": ("source", "Files by where they came from; wrong-bytes: not those that were allowed."),
        "upstream": ("host", "Requests to registries."),
        "addresses": ("answer", "Addresses that were not connected to because they are inside."),
    }

    def text(self, *, under_way: int, scratch_bytes: int, lists_age: float | None) -> str:
        """Return all of them.

        Args:
            under_way: requests being answered now.
            scratch_bytes: in the folder of files.
            lists_age: seconds since the control plane last answered; None: it never did.
        """
        return self._text(
            {
                "requests": ("Requests under way.", under_way),
                "scratch_bytes": ("Bytes of files that are kept or on their way.", scratch_bytes),
                "lists_age_seconds": (
                    "Since the control plane last answered; -1: never.",
                    -1 if lists_age is None else round(lists_age, 1),
                ),
            }
        )
