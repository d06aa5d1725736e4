"""What can go wrong between a zone and a registry, in words for who waits."""

from __future__ import annotations

from broch_core.errors import DomainError


class RegistryRefused(DomainError):
    """A registry answered something that cannot be taken: another host, a private address, too much."""

    status = 502
    kind = "registry"
    title = "The registry's answer cannot be taken"


class WrongBytes(DomainError):
    """The bytes are not those that were allowed."""

    status = 502
    kind = "wrong-bytes"
    title = "These are not the bytes that were allowed"
