"""The server name of a ClientHello: OpenSSL's own hellos, and anything else."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.protocol import sni
from elastic_inference.protocol.sni import Status


def client_hello(server_name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def fragmented(hello: bytes, size: int) -> bytes:
    """The same handshake message in records of `size` bytes."""
    body = hello[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_finds_the_server_name_openssl_sends() -> None:
    hello = sni.parse(client_hello("eia-0a1b.Elastic-Inference.internal"))
    assert hello == sni.Hello(Status.COMPLETE, "eia-0a1b.elastic-inference.internal")


def test_a_hello_without_a_server_name_is_complete() -> None:
    assert sni.parse(client_hello(None)) == sni.Hello(Status.COMPLETE, None)
    # For an address OpenSSL sends no server name.
    assert sni.parse(client_hello("127.0.0.1")) == sni.Hello(Status.COMPLETE, None)


@given(st.data())
def test_every_true_prefix_wants_more(data: st.DataObject) -> None:
    hello = client_hello("a.example")
    cut = data.draw(st.integers(0, len(hello) - 1))
    assert sni.parse(hello[:cut]).status is Status.MORE


@given(st.integers(1, 64))
def test_a_hello_in_many_records_reads_the_same(size: int) -> None:
    assert sni.parse(fragmented(client_hello("a.example"), size)) == sni.Hello(
        Status.COMPLETE, "a.example"
    )


def test_what_follows_the_hello_does_not_matter() -> None:
    assert sni.parse(client_hello("a.example") + b"\x17\x03\x03junk").server_name == "a.example"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0", b"SSH-2.0-x", b"\x80\x2e", b"\x16\x02"]
)
def test_other_protocols_are_not_tls(data: bytes) -> None:
    assert sni.parse(data).status is Status.NOT_TLS


def test_a_hello_beyond_the_limit_is_refused_before_it_is_whole() -> None:
    head = b"\x16\x03\x01\x40\x00" + b"\x01" + (sni.MAX_HELLO).to_bytes(3, "big")
    assert sni.parse(head).status is Status.MALFORMED


def test_another_handshake_message_is_malformed() -> None:
    assert sni.parse(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00").status is Status.MALFORMED


@given(st.binary(max_size=512))
def test_any_bytes_are_answered(data: bytes) -> None:
    assert isinstance(sni.parse(data), sni.Hello)
    assert isinstance(sni.parse(b"\x16\x03\x01\x00\x40" + data), sni.Hello)


@given(st.data())
def test_a_changed_hello_never_raises(data: st.DataObject) -> None:
    hello = bytearray(client_hello("a.example"))
    for _ in range(data.draw(st.integers(1, 8))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    name = sni.parse(bytes(hello)).server_name
    assert name is None or (len(name) <= 255 and name.isprintable())
