"""Random changes of bytes and documents, the same for the same seed."""

from __future__ import annotations

import copy
import random
from typing import Any

_BYTES = (
    b"\0", b"\xff", b"\r\n", b"\r\n\r\n", b" ", b":", b"/", b"%", b"\x7f", b"\x80" * 5, b"\xff" * 9,
    b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"-1", b"0" * 30,
    b"9" * 30, b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"\\ud800", b'"', b"{", b"}",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**31 - 1, 2**32, 2**53, 2**62, 2**63, 2**64, -(2**63),
    10**400, 0.5, -0.0, 1e308, "", "x", "y", "\0", "a" * 5000, "../x", "\u00e9", "FP32", "BYTES",
    "BOOL", "INT64", "INT4", "BF16", "SEQUENCE", "OPTIONAL", "MAP", [], {}, [[]], [1, 4], [4],
    [0], [0, 2**61], [2**31, 2**31], [-1], [1] * 40, [None], {"a": {}}, [1.0, 2.0, 3.0, 4.0],
    {"binary_data_size": 16}, {"binary_data_size": -1}, {"binary_data_size": 2**62},
    {"shared_memory_region": "r", "shared_memory_byte_size": 16},
    {"shared_memory_region": "r", "shared_memory_offset": 2**62, "shared_memory_byte_size": 16},
    {"elastic_inference_output_region": "r", "elastic_inference_output_byte_size": 64},
)  # fmt: skip


def mutate_bytes(chance: random.Random, raw: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """`raw` with a few random changes; sometimes a piece of one of `others` is put in."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 64, 1024)))
        what = chance.randrange(8)
        if what == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif what == 1:
            data[at:end] = b""
        elif what == 2:
            data[at:at] = chance.choice(_BYTES)
        elif what == 3:
            data[at:end] = chance.randbytes(end - at)
        elif what == 4:
            data[at:at] = data[at:end] * chance.choice((1, 2, 10))
        elif what == 5:
            data[at:end] = chance.choice(_BYTES)
        elif what == 6 and others:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.choice((4, 64, 4096))]
        elif what == 7:
            del data[at + chance.randrange(len(data) - at + 1) :]
    return bytes(data)


def mutate_document(chance: random.Random, document: Any) -> Any:
    """`document` with a few of its values replaced, dropped or doubled."""
    made = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(made))
        if not places:
            break
        holder, key = chance.choice(places)
        what = chance.randrange(5)
        if what <= 2:
            holder[key] = copy.deepcopy(chance.choice(_VALUES))
        elif what == 3:
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[str(chance.choice(("name", "shape", "parameters", "data")))] = holder[key]
    return made


def _places(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            yield node, key
            yield from _places(value)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield node, index
            yield from _places(value)


def mutate_http(chance: random.Random, raw: bytes, others: tuple[bytes, ...]) -> bytes:
    """`raw`, a stream of requests, changed; often so that its first request is still whole."""
    what = chance.randrange(6)
    other = chance.choice(others)[1:]
    if what == 0:
        return raw[: chance.randrange(len(raw) + 1)] + other[chance.randrange(len(other) + 1) :]
    if what == 1:
        return raw + other if chance.random() < 0.5 else other + raw
    head, end, body = raw.partition(b"\r\n\r\n")
    if what == 2 and end:
        lines = head.split(b"\r\n")
        more = other.partition(b"\r\n\r\n")[0].split(b"\r\n")
        lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(more))
        return b"\r\n".join(lines) + end + body
    if what == 3 and end:
        return _refit(head, mutate_bytes(chance, body))
    if what == 4 and end:
        return mutate_bytes(chance, head) + end + body
    return mutate_bytes(chance, raw, others)


def _refit(head: bytes, body: bytes) -> bytes:
    """A request with its length as it is."""
    lines = [
        b"Content-Length: %d" % len(body) if line.lower().startswith(b"content-length:") else line
        for line in head.split(b"\r\n")
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
