"""Content codings of answers (RFC 9110, section 8.4.1): gzip and deflate, piece by piece. No I/O.

Tensors of numbers hardly shrink, and compressing them takes far longer than sending them
over a network of today. So an answer is compressed only for who names one coding, as clients do
that were told to; a list such as HTTP libraries send by themselves asks for nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

# What "deflate" means: the zlib format (RFC 1950) around it, not the bare stream.
_WINDOW_BITS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
_FASTEST = 1
_PIECE = 256 * 1024
_STEP = 1024 * 1024
_REFUSED = re.compile(rb";\s*q\s*=\s*0(\.0*)?\s*(;|$)")


def wanted_coding(accept_encoding: bytes) -> bytes:
    """`gzip` or `deflate` if the header field names that coding and no other, else b""."""
    named = set()
    for item in accept_encoding.lower().split(b","):
        coding = item.partition(b";")[0].strip()
        if coding and coding != b"identity" and not _REFUSED.search(item):
            named.add(coding)
    (coding,) = named if len(named) == 1 else (b"",)
    return coding if coding in _WINDOW_BITS else b""


def compress(coding: bytes, parts: Sequence[memoryview | bytes]) -> Iterator[bytes]:
    """`parts`, one after the other, in pieces of about 256 KiB; one or more.

    Args:
        coding: `gzip` or `deflate`.
        parts: flat buffers of bytes.
    """
    packer = zlib.compressobj(_FASTEST, wbits=_WINDOW_BITS[coding])
    piece = bytearray()
    for part in parts:
        view = memoryview(part)
        for at in range(0, len(view), _STEP):
            piece += packer.compress(view[at : at + _STEP])
            if len(piece) >= _PIECE:
                yield bytes(piece)
                piece.clear()
    piece += packer.flush()
    yield bytes(piece)
