"""TensorFlow's record files (TFRecord): lengths and bytes, each with a masked CRC-32C.

https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from elastic_inference.errors import ModelFormatError

# Castagnoli's polynomial, its bits reversed.
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        remainder = value
        for _ in range(8):
            remainder = remainder >> 1 ^ (_POLYNOMIAL if remainder & 1 else 0)
        entries.append(remainder)
    return tuple(entries)


_TABLE = _table()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of `data`."""
    table = _TABLE
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF


def read(path: Path, most: int) -> Iterator[bytes]:
    """The records in the file at `path`.

    Args:
        most: bytes of a record.

    Raises:
        ModelFormatError: the file is damaged, is none, or a record is larger.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            check = file.read(_CHECKSUM.size)
            if len(head) < _LENGTH.size or len(check) < _CHECKSUM.size:
                raise _damaged(path, "it is cut off")
            if _CHECKSUM.unpack(check)[0] != checksum(head):
                raise _damaged(path, "a length's checksum is wrong")
            (length,) = _LENGTH.unpack(head)
            if length > most:
                raise _damaged(path, f"a record has {length} bytes, more than {most}")
            yield _body(path, file, length)


def _body(path: Path, file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    check = file.read(_CHECKSUM.size)
    if len(data) < length or len(check) < _CHECKSUM.size:
        raise _damaged(path, "it is cut off")
    if _CHECKSUM.unpack(check)[0] != checksum(data):
        raise _damaged(path, "a record's checksum is wrong")
    return data


def _damaged(path: Path, why: str) -> ModelFormatError:
    return ModelFormatError(f"{path}: {why}. Please verify your warmup data is in TFRecord format.")
