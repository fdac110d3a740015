"""Request heads: what is read, and what is refused because it could be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.http import (
    parse_request_head,
    response_head,
    split_authorization,
)


def test_reads_an_inference_head() -> None:
    head = parse_request_head(
        b"POST /v2/models/my%2Fmodel/infer?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
        b"Inference-Header-Content-Length: 5"
    )
    assert head.path == ("v2", "models", "my/model", "infer")
    assert (head.query, head.content_length, head.json_length) == ("a=1", 12, 5)
    assert head.is_infer
    assert head.keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive", True),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, expected: bool) -> None:
    lines = [b"GET / HTTP/" + version, b"Host: x", *([connection] if connection else [])]
    assert parse_request_head(b"\r\n".join(lines)).keep_alive is expected


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"G T / HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\nName : value",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y",
        b"GET / HTTP/1.1\r\nHost: a\nb",
        b"POST / HTTP/1.1\r\nContent-Length: -1",
        b"POST / HTTP/1.1\r\nContent-Length: +1",
        b"POST / HTTP/1.1\r\nContent-Length: 1, 1",
        b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"POST / HTTP/1.1\r\nInference-Header-Content-Length: x",
        b"GET / HTTP/1.1\r\nAuthorization: a\r\nauthorization: b",
        b"GET /%ff HTTP/1.1",
        b"GET / HTTP/1.1\r\n" + b"\r\n".join(b"a%d: b" % n for n in range(101)),
    ],
)
def test_refuses_what_is_ambiguous(head: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_request_head(head)


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(raw: bytes) -> None:
    try:
        head = parse_request_head(raw)
    except InvalidRequestError:
        return
    assert head.content_length is None or head.content_length >= 0


_FIELDS = st.lists(
    st.tuples(st.sampled_from([b"Host", b"X-A", b"Content-Length"]), st.just(b"7")),
    unique_by=lambda pair: pair[0],
)


@given(
    fields=_FIELDS,
    token=st.from_regex(rb"[A-Za-z0-9._-]{1,40}", fullmatch=True),
    at=st.integers(0, 3),
    name=st.sampled_from([b"Authorization", b"authorization"]),
)
def test_an_authorisation_is_cut_out_wherever_it_stands(
    fields: list[tuple[bytes, bytes]], token: bytes, at: int, name: bytes
) -> None:
    lines = [key + b": " + value for key, value in fields]
    whole = list(lines)
    whole.insert(min(at, len(lines)), name + b": Bearer " + token)
    bare, authorization = split_authorization(b"\r\n".join([b"GET / HTTP/1.1", *whole]))
    assert authorization == b"Bearer " + token
    assert bare == b"\r\n".join([b"GET / HTTP/1.1", *lines])


def test_an_oddly_spelt_authorisation_stays_in_the_head() -> None:
    raw = b"GET / HTTP/1.1\r\nAUTHORIZATION: Bearer x"
    assert split_authorization(raw) == (raw, None)
    assert parse_request_head(raw).headers[b"authorization"] == b"Bearer x"


def test_response_head_says_what_follows() -> None:
    head = response_head(200, 10, b"application/octet-stream", json_length=4, close=True)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nInference-Header-Content-Length: 4\r\n" in head
    assert b"\r\nConnection: close\r\n" in head
    assert head.endswith(b"\r\nContent-Length: 10\r\n\r\n")
