"""The pool's certificate authority, judged by OpenSSL."""

from __future__ import annotations

import socket
import ssl
import stat
from pathlib import Path

import pytest

from elastic_inference.control.certificates import POOL_NAME, Authority, server_name
from elastic_inference.errors import ConfigurationError

NAME = server_name("eia-" + "0" * 32)


def handshake(authority: Authority, names: list[str], asked: str) -> None:
    """A whole TLS handshake in memory with a certificate for `names`."""
    issued = authority.issue(names)
    both = authority.path.with_name("both.pem")
    both.write_bytes(issued.certificate + issued.private_key)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(both)
    asking = ssl.create_default_context(cafile=str(authority.path))
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
