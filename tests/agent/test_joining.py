"""Whom a host believes, before it says anything."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.agent import joining
from elastic_inference.agent.identity import Identity
from elastic_inference.control.certificates import Authority
from elastic_inference.control.names import POOL_NAME
from elastic_inference.errors import AuthenticationError, InvalidRequestError, UnavailableError


def made(directory: Path) -> Authority:
    directory.mkdir()
    return Authority.open(directory)


@contextlib.contextmanager
def answering(authority: Authority, body: bytes, heard: list[bytes]) -> Iterator[str]:
    """Somebody who answers one question for /ca.pem with `body`; their endpoint."""
    certificate = authority.issue([POOL_NAME])
    file = authority.path.with_name("server.pem")
    file.write_bytes(certificate.certificate + certificate.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        with plain, context.wrap_socket(plain, server_side=True) as connection:
            while not b"".join(heard).endswith(b"\r\n\r\n"):
                heard.append(connection.recv(4096))
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


def test_the_authority_of_the_token_and_nothing_beside_it_is_believed(tmp_path: Path) -> None:
    own, foreign = made(tmp_path / "own"), made(tmp_path / "foreign")
    both = own.path.read_bytes() + foreign.path.read_bytes()
    heard: list[bytes] = []
    with answering(own, both, heard) as endpoint:
        found = joining.authority(endpoint, own.fingerprint)
    assert found.count("BEGIN CERTIFICATE") == 1
    assert ssl.PEM_cert_to_DER_cert(found) == ssl.PEM_cert_to_DER_cert(own.path.read_text())


def test_another_s_is_refused_and_nothing_but_the_question_was_said(tmp_path: Path) -> None:
    own, foreign = made(tmp_path / "own"), made(tmp_path / "foreign")
    both = foreign.path.read_bytes() + own.path.read_bytes()
    heard: list[bytes] = []
    with (
        answering(foreign, both, heard) as endpoint,
        pytest.raises(AuthenticationError, match="Nothing was sent to it"),
    ):
        joining.authority(endpoint, own.fingerprint)
    head = b"".join(heard).decode()
    assert head.startswith("GET /ca.pem HTTP/1.1\r\n")
    assert own.fingerprint not in head


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        "é".encode(),
        b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n" + b"A" * 100_000,
    ],
)
def test_what_is_no_certificate_is_no_pool(tmp_path: Path, body: bytes) -> None:
    authority = made(tmp_path / "own")
    with (
        answering(authority, body, []) as endpoint,
        pytest.raises(UnavailableError, match="is no pool"),
    ):
        joining.authority(endpoint, authority.fingerprint)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://10.0.0.5:8443", "https://10.0.0.5:8443"),
        ("https://10.0.0.5", "https://10.0.0.5:443"),
        ("pool.example:8443", "https://pool.example:8443"),
        ("https://[fd00::5]:8443/", "https://[fd00::5]:8443"),
    ],
)
def test_endpoints(text: str, endpoint: str) -> None:
    assert joining.normal_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["", "https://", "http://a", "https://a:99999", "https://a/b?c"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        joining.normal_endpoint(text)


def test_an_identity_is_kept_and_tells_no_secret(tmp_path: Path) -> None:
    identity = Identity(
        endpoint="https://10.0.0.5:443",
        server_name="10.0.0.5",
        ca="/ca.pem",
        instance_id="i-1",
        access_key_id="EIHK",
        secret_access_key="s3cret",
        metadata_secret="s3cret",
        metadata_url="http://127.0.0.1:1234/s3cret",
    )
    assert Identity.load(tmp_path) is None
    identity.save(tmp_path)
    assert Identity.load(tmp_path) == identity
    assert identity.metadata_port == 1234
    assert "s3cret" not in repr(identity)
    assert "s3cret" not in repr(identity.pointer)
    (tmp_path / "host.json").write_text("{")
    assert Identity.load(tmp_path) is None
