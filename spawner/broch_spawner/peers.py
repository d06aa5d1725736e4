"""TLS between hub and workspaces on a cluster: each start has a key of its own, and no other is spoken to.

The pod gets key and certificate in its environment, as it gets the token of its hub user. Authorities would be of no use:
the one certificate is known beforehand, so it is compared as a whole (RFC 7469 calls that a pin; RFC 9525 names are not
looked at, for an address is all that a pod has).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LASTS = timedelta(days=366)
"""What a certificate says; a start lasts days, and the hub looks at the pin alone."""
_PIN = re.compile(r"[0-9a-f]{64}")


class UnknownPeer(aiohttp.ClientConnectionError):
    """Nobody said which certificate the server at this address has, so it is not spoken to."""


@dataclass(frozen=True)
class Identity:
    """What a workspace's server proves itself by, during one start."""

    key: str = field(repr=False)
    """Private key, PEM (PKCS #8)."""
    certificate: str
    """Self-signed, PEM."""
    pin: str
    """SHA-256 of the certificate (DER), hexadecimal."""


def new_identity(name: str) -> Identity:
    """Return a fresh key (ECDSA on P-256) with its certificate.

    Args:
        name: of the pod's principal, for people who look at the certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


class Peers:
    """Which certificate is expected at which address, in this process: spawners say it, hub and proxy ask."""

    def __init__(self) -> None:
        self._pins: dict[str, str] = {}

    def expect(self, url: str, pin: str) -> None:
        """Say whose server is at an address from now on: a pod's address is soon another's."""
        if _PIN.fullmatch(pin) is None:
            raise UnknownPeer("It is not known which certificate this workspace has.")
        self._pins[urlsplit(url).netloc] = pin

    def forget(self, pin: str) -> None:
        """Forget one server, wherever it was."""
        self._pins = {address: one for address, one in self._pins.items() if one != pin}

    def pin(self, url: str) -> aiohttp.Fingerprint | bool:
        """Return what aiohttp takes as `ssl` for a request to this address.

        Connections are kept by it as well, so one that a pod before had is never used for the next at its address.

        Raises:
            UnknownPeer: it wants TLS, and nobody said which certificate it has.
        """
        parts = urlsplit(url)
        if parts.scheme != "https":
            return True
        known = self._pins.get(parts.netloc)
        if known is None:
            raise UnknownPeer("It is not known which certificate this workspace has.")
        return aiohttp.Fingerprint(bytes.fromhex(known))


PEERS = Peers()
