"""The pool's certificate authority and the server certificates that it issues.

The authority is made at the first start. It may vouch for the pool's own names and for
addresses alone, so that whoever trusts it need not trust it about anything else.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from elastic_inference.control.names import DOMAIN
from elastic_inference.errors import ConfigurationError

_CA_LIFETIME = dt.timedelta(days=3650)
_SERVER_LIFETIME = dt.timedelta(days=825)
# Machines whose clocks lag behind must not find a certificate that is not valid yet.
_SKEW = dt.timedelta(days=1)


def server_name(accelerator_id: str) -> str:
    """The TLS server name of an accelerator."""
    return f"{accelerator_id}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate chain and its key, PEM."""

    certificate: bytes
    private_key: bytes


class Authority:
    """A certificate authority whose key lies in a directory.

    Attributes:
        path: PEM file of the authority's certificate, for those who shall trust it.
    """

    def __init__(
        self, path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self.path = path
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, directory: Path) -> Authority:
        """The authority in `directory`, made if there is none.

        Raises:
            ConfigurationError: its files cannot be read.
        """
        certificate_path, key_path = directory / "ca.pem", directory / "ca.key"
        if not certificate_path.exists():
            _make(certificate_path, key_path)
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"Cannot read the certificate authority in {directory}: {error}.",
                next_step="Restore ca.pem and ca.key, or remove both to have new ones made.",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"The key {key_path} is not one that was made here.")
        if _constrains_addresses(certificate):
            # The same key and name, so that what was signed and who trusts it stay as they are.
            certificate = _certify(certificate_path, key)
        return cls(certificate_path, certificate, key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, hex."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def may_vouch_for(self, name: str) -> bool:
        """Whether a certificate of this authority for a DNS name or IP address is trusted.

        One name that is not trusted makes the whole certificate worthless.
        """
        if isinstance(_general_name(name), x509.IPAddress):
            return True
        permitted = [
            each.value.lower()
            for each in _permitted(self._certificate)
            if isinstance(each, x509.DNSName)
        ]
        return any(f".{name.lower()}".endswith(f".{each}") for each in permitted)

    def issue(self, names: Sequence[str]) -> ServerCertificate:
        """A certificate for DNS names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(names[0]), self._certificate.subject, key, _SERVER_LIFETIME)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
            critical=False,
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        return ServerCertificate(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _make(certificate_path: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # The key first: a certificate that lies there always has its key beside it.
    write_private(key_path, _pem(key))
    _certify(certificate_path, key)


def _certify(certificate_path: Path, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Write the authority's own certificate for its key."""
    name = _name("Elastic Inference pool")
    builder = _builder(name, name, key, _CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(
        x509.NameConstraints(
            # Of addresses nothing is said, which permits them all: BoringSSL, and gRPC with it,
            # refuses a certificate for one where something is.
            permitted_subtrees=[
                x509.DNSName(DOMAIN),
                x509.DNSName("localhost"),
                x509.DNSName(socket.gethostname()),
            ],
            excluded_subtrees=None,
        ),
        critical=True,
    )
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    certificate = builder.sign(key, hashes.SHA256())
    temporary = certificate_path.with_suffix(".new")
    temporary.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    temporary.replace(certificate_path)
    return certificate


def _constrains_addresses(certificate: x509.Certificate) -> bool:
    return any(isinstance(each, x509.IPAddress) for each in _permitted(certificate))


def _permitted(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    """What an authority's certificate lets it vouch for; empty where it says nothing of it."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return ()
    return found.value.permitted_subtrees or ()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that this user alone can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
