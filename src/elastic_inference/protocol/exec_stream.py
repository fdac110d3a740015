"""The frames of a command that runs elsewhere: its input, output, terminal, signals and end.

A frame is one byte of kind, the payload's length in four bytes (big-endian) and the payload.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from elastic_inference.errors import InvalidRequestError

MAX_PAYLOAD = 64 * 1024
# Bytes of stdin that may be on their way; the command's side gives more as it takes them, so
# that a signal never waits behind input that the command does not read.
INPUT_WINDOW = 256 * 1024
_HEAD = struct.Struct(">BI")


class Kind(IntEnum):
    """What a frame carries.

    STDIN: to the command; empty: its end. STDOUT, STDERR: from the command. RESIZE: rows and
    columns of its terminal. SIGNAL: a signal's number. EXIT: the command's exit status, the
    last frame. ERROR: why it cannot run on, a text, the last frame. PING: the sender lives.
    CREDIT: bytes of stdin that the command took.
    """

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    RESIZE = 3
    SIGNAL = 4
    EXIT = 5
    ERROR = 6
    PING = 7
    CREDIT = 8


_FIXED = {
    Kind.RESIZE: struct.Struct(">HH"),
    Kind.SIGNAL: struct.Struct(">B"),
    Kind.EXIT: struct.Struct(">i"),
    Kind.PING: struct.Struct(""),
    Kind.CREDIT: struct.Struct(">I"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `numbers` of a kind whose payload is numbers."""

    kind: Kind
    payload: bytes = b""

    @property
    def numbers(self) -> tuple[int, ...]:
        return _FIXED[self.kind].unpack(self.payload)

    @property
    def text(self) -> str:
        return self.payload.decode("utf-8", "replace")


def encode(kind: Kind, payload: bytes | memoryview = b"") -> bytes:
    """The frame's bytes; `payload` is at most `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    return _HEAD.pack(kind, len(payload)) + payload


def encode_numbers(kind: Kind, *numbers: int) -> bytes:
    """A frame of RESIZE (rows, columns), SIGNAL, EXIT, PING (none) or CREDIT."""
    return encode(kind, _FIXED[kind].pack(*numbers))


def encode_text(text: str) -> bytes:
    """An ERROR frame, cut to what fits."""
    return encode(Kind.ERROR, text.encode("utf-8", "replace")[:MAX_PAYLOAD])


class Decoder:
    """Takes bytes as they come and gives frames; it keeps less than one frame."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that are whole now.

        Raises:
            InvalidRequestError: these are no frames; nothing that follows can be read.
        """
        self._data += data
        frames = []
        at = 0
        while len(self._data) - at >= _HEAD.size:
            number, size = _HEAD.unpack_from(self._data, at)
            kind = _kind(number, size)
            end = at + _HEAD.size + size
            if end > len(self._data):
                break
            frames.append(Frame(kind, bytes(self._data[at + _HEAD.size : end])))
            at = end
        del self._data[:at]
        return frames


def _kind(number: int, size: int) -> Kind:
    try:
        kind = Kind(number)
    except ValueError:
        raise InvalidRequestError(f"There is no frame of kind {number}.") from None
    fixed = _FIXED.get(kind)
    if size > MAX_PAYLOAD or (fixed is not None and size != fixed.size):
        raise InvalidRequestError(f"A frame of kind {kind.name} has {size} bytes.")
    return kind
