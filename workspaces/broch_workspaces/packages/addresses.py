"""Which addresses are outside: only those may be connected to. Pure.

A registry's name may be made to resolve to anything, once or every other time (DNS rebinding), so what counts is the
address of the very connection that is being made, and not what a look-up said before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        # IANA special-purpose registries (RFC 6890); named here as well, because Python's list differs by release.
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        # Metadata and agents of a cloud at an address that looks like any other.
        "168.63.129.16/32",
        # Within 2000::/3, the one block of IPv6 that is routed: protocols that carry an IPv4 address, and documentation.
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
_ROUTED = ipaddress.IPv6Network("2000::/3")
"""Everything else of IPv6 is local, a translation of IPv4 (::ffff:0:0/96, 64:ff9b::/96 ...) or not given out."""


def outside(address: str, inside: Sequence[Network] = ()) -> bool:
    """Tell whether a connection to this address leads outside, or to a place that is named as an exception.

    Args:
        address: as the socket is about to be connected to it.
        inside: networks of a mirror on this side, which may be connected to all the same.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if found.version == 6 and found.scope_id is not None:
        return False
    if any(found in network for network in inside):
        return True
    if found.version == 6 and found not in _ROUTED:
        return False
    return found.is_global and not any(found in network for network in _REFUSED)
