"""Which coding an answer gets, and what then comes out."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.protocol.compression import compress, wanted_coding
from elastic_inference.protocol.http import parse_request_head

UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.decompress,
    b"deflate": zlib.decompress,
}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b" GZip ", b"gzip"),
        (b"gzip;q=0.5", b"gzip"),
        (b"identity, gzip", b"gzip"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"identity;q=0, gzip;q=1", b"gzip"),
        (b"gzip;q=0", b""),
        (b"gzip; q = 0.000", b""),
        (b"gzip;q=0.001", b"gzip"),
        (b"identity", b""),
        (b"br", b""),
        (b"*", b""),
        (b"gzip, deflate", b""),
        (b"gzip, deflate, br, zstd", b""),
        (b",,;q=1,", b""),
    ],
)
def test_one_named_coding_is_wanted(field: bytes, expected: bytes) -> None:
    assert wanted_coding(field) == expected


@given(st.binary())
def test_any_field_is_read(field: bytes) -> None:
    assert wanted_coding(field) in (b"", b"gzip", b"deflate")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"POST /v2/models/m/infer HTTP/1.1", b"gzip"),
        (b"POST /v2/models/m/infer HTTP/1.0", b""),
        (b"GET /v2/models/m HTTP/1.1", b""),
    ],
)
def test_inferences_alone_are_compressed(line: bytes, expected: bytes) -> None:
    head = parse_request_head(line + b"\r\nAccept-Encoding: gzip")
    assert head.coding == expected
    assert not (head.coding and head.is_usual)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@given(parts=st.lists(st.binary(max_size=100), max_size=5))
def test_all_parts_come_out(coding: bytes, parts: list[bytes]) -> None:
    pieces = list(compress(coding, parts))
    assert UNPACK[coding](b"".join(pieces)) == b"".join(parts)


def test_large_parts_come_in_bounded_pieces() -> None:
    noise = np.random.default_rng(0).bytes(5_000_000)
    pieces = list(compress(b"gzip", [b"first", memoryview(noise)]))
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 2_000_000
    assert all(pieces)
    assert gzip.decompress(b"".join(pieces)) == b"first" + noise
