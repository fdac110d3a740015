"""Random changes of protobuf messages that leave their lengths right."""

from __future__ import annotations

import random
from typing import TypeAlias

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.protocol.wireformat import BYTES, VARINT, fields, varint
from tests.fuzz.mutations import mutate_bytes

# Number, wire type, and the body: a varint's value, or bytes.
Field: TypeAlias = tuple[int, int, int | bytes]
_NUMBERS = (0, 1, 2, 3, 7, 8, 13, 16, 127, 255, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, 2**64 - 1)
_TEXTS = (
    b"", b"x", b"y", b"location", b"../x", b"/etc/passwd", b"weights.bin", b"offset", b"length",
    b"-1", b"Identity", b"Loop", b"If", b"Constant", b"EPContext", b"ai.onnx", b"own", b"F",
    b"\xff",
)  # fmt: skip


def mutate_message(chance: random.Random, raw: bytes, others: tuple[bytes, ...]) -> bytes:
    """`raw` with a few fields changed, dropped, doubled, or taken from one of `others`."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        raw = _change(chance, raw, others, 0)
    return raw


def read(raw: bytes) -> list[Field] | None:
    """The fields of a message, or None if it is none."""
    found: list[Field] = []
    try:
        for number, wire, (start, end) in fields(raw, (0, len(raw))):
            found.append((number, wire, start if wire == VARINT else raw[start:end]))
    except ElasticInferenceError:
        return None
    return found


def write(message: list[Field]) -> bytes:
    """The message of these fields."""
    out = bytearray()
    for number, wire, body in message:
        out += varint(number << 3 | wire)
        if isinstance(body, int):
            out += varint(body)
        else:
            out += (varint(len(body)) if wire == BYTES else b"") + body
    return bytes(out)


def _change(chance: random.Random, raw: bytes, others: tuple[bytes, ...], depth: int) -> bytes:
    message = read(raw)
    if not message:
        return _leaf(chance, raw)
    at = chance.randrange(len(message))
    number, wire, body = message[at]
    if isinstance(body, bytes) and wire == BYTES and body and chance.random() < 0.85 and depth < 30:
        message[at] = number, wire, _change(chance, body, others, depth + 1)
        return write(message)
    what = chance.randrange(7)
    if what == 0:
        del message[at]
    elif what == 1:
        message.insert(chance.randrange(len(message) + 1), message[at])
    elif what == 2:
        message[at] = chance.randrange(1, 30), wire, body
    elif what == 3:
        chance.shuffle(message)
    elif what == 4 and others:
        message.insert(at, _pick(chance, chance.choice(others)))
    elif isinstance(body, int):
        message[at] = number, wire, chance.choice(_NUMBERS)
    elif wire == BYTES:
        message[at] = number, wire, _leaf(chance, body)
    return write(message)


def _pick(chance: random.Random, raw: bytes) -> Field:
    """Some field from somewhere in a message."""
    found: Field = (7, BYTES, raw)
    while message := read(raw):
        found = chance.choice(message)
        if not isinstance(found[2], bytes) or found[1] != BYTES or chance.random() < 0.4:
            break
        raw = found[2]
    return found


def _leaf(chance: random.Random, raw: bytes) -> bytes:
    if chance.random() < 0.5:
        return chance.choice(_TEXTS)
    return mutate_bytes(chance, raw)
