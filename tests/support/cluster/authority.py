"""A certificate authority of the tests' own, for everything that a chart is given and for what lies outside."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 30


@dataclass(frozen=True)
class Files:
    """Where a certificate lies, as a component finds it in `BROCH_TLS`: `tls.crt`, `tls.key`, `ca.crt`."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and its authority, PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    def write(self, folder: Path) -> Files:
        """Write the three files into `folder`; the key for its owner alone."""
        folder.mkdir(parents=True, exist_ok=True)
        files = Files(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        files.key.touch(mode=0o600)
        for path, content in (
            (files.certificate, self.certificate),
            (files.key, self.key),
            (files.authority, self.authority),
        ):
            path.write_bytes(content)
        return files

    def secret(self, name: str, namespace: str) -> dict[str, Any]:
        """Return the manifest of a Secret that holds them, of type `kubernetes.io/tls` with `ca.crt` besides."""
        data = {"tls.crt": self.certificate, "tls.key": self.key, "ca.crt": self.authority}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # PKCS #8: PostgreSQL, Java and Go all read it.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """Issues certificates for a month; its own key never leaves the process."""

    def __init__(self, name: str = "broch test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            self._begin(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The certificate that others trust, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Write the certificate that others trust to `path`."""
        path.write_bytes(self.pem)
        return path

    def _begin(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            # An hour back: clocks of nodes differ.
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    def issue(self, *names: str, addresses: Sequence[str] = ()) -> Issued:
        """Issue a certificate for server and client, valid for DNS `names` and IP `addresses`.

        Args:
            names: the first is also the common name; at least one.
            addresses: IP addresses that clients connect to without a name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [
            *(x509.DNSName(name) for name in names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        ]
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            # A common name of over 64 characters is refused; whoever checks looks at the alternatives anyway.
            self._begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]), key.public_key())
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), self.pem)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
