"""The pool's certificate authority, judged by OpenSSL."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from elastic_inference.control.certificates import Authority, server_name
from elastic_inference.control.names import POOL_NAME
from elastic_inference.errors import ConfigurationError

NAME = server_name("eia-" + "0" * 32)


def handshake(
    authority: Authority, names: list[str], asked: str, trusted: Path | None = None
) -> None:
    """A whole TLS handshake in memory with a certificate for `names`."""
    issued = authority.issue(names)
    both = authority.path.with_name("both.pem")
    both.write_bytes(issued.certificate + issued.private_key)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(both)
    asking = ssl.create_default_context(cafile=str(trusted or authority.path))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=asked)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_a_certificate_is_trusted_for_its_names(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    handshake(authority, [NAME], NAME)
    handshake(authority, [POOL_NAME, "127.0.0.1", "localhost"], "127.0.0.1")


def test_it_is_not_trusted_for_another_name(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(authority, [NAME], server_name("eia-" + "1" * 32))


def test_the_authority_cannot_vouch_for_the_rest_of_the_world(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        handshake(authority, ["www.example.com"], "www.example.com")


def test_it_knows_what_it_may_vouch_for(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    own = [NAME, "localhost", socket.gethostname().upper(), "10.1.2.3", "fd00::1"]
    assert [name for name in own if not authority.may_vouch_for(name)] == []
    for name in ("www.example.com", "notlocalhost", f"x{NAME.partition('.')[2]}"):
        assert not authority.may_vouch_for(name)
    handshake(authority, own, "10.1.2.3")


def test_an_authority_that_names_addresses_is_certified_anew_with_its_key(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    old = tmp_path / "old.pem"
    _constrain_addresses(first.path)
    old.write_bytes(first.path.read_bytes())
    second = Authority.open(tmp_path)
    assert _permitted(second.path) == {x509.DNSName}
    renewed = second.path.read_bytes()
    assert Authority.open(tmp_path).path.read_bytes() == renewed
    for trusted in (second.path, old):
        handshake(second, [NAME, "127.0.0.1"], "127.0.0.1", trusted)
        handshake(first, [NAME], NAME, trusted)


def _constrain_addresses(path: Path) -> None:
    """Rewrite an authority's certificate so that it names the addresses that it may vouch for."""
    was = x509.load_pem_x509_certificate(path.read_bytes())
    key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(
        was.issuer, was.subject, was.public_key(), x509.random_serial_number(),
        was.not_valid_before_utc, was.not_valid_after_utc,
    )  # fmt: skip
    for each in was.extensions:
        value = each.value
        if isinstance(value, x509.NameConstraints):
            every = [x509.IPAddress(ipaddress.ip_network(net)) for net in ("0.0.0.0/0", "::/0")]
            value = x509.NameConstraints([*(value.permitted_subtrees or ()), *every], None)
        builder = builder.add_extension(value, each.critical)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert _permitted(path) == {x509.DNSName, x509.IPAddress}


def _permitted(path: Path) -> set[type[x509.GeneralName]]:
    """The types of the names that an authority may vouch for."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    return {type(each) for each in constraints.value.permitted_subtrees or ()}


def test_keys_are_this_users_alone_and_the_authority_stays(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    before = first.path.read_bytes()
    assert Authority.open(tmp_path).path.read_bytes() == before


def test_a_broken_authority_is_named(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    (tmp_path / "ca.key").write_text("nothing")
    with pytest.raises(ConfigurationError, match="certificate authority"):
        Authority.open(tmp_path)
