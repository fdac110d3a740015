"""Which file an array's bytes lie in, so that a model can refer to them instead of holding them."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from dataclasses import dataclass
from typing import IO

import numpy as np

from elastic_inference.protocol.tensors import Array


@dataclass(frozen=True, slots=True)
class Origin:
    """A range of a file."""

    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Mapping:
    whole: weakref.ref[Array]
    path: str
    identity: tuple[int, ...]


_mappings: dict[int, _Mapping] = {}
_lock = threading.Lock()


def map_file(file: IO[bytes], path: str) -> Array:
    """The bytes of an open file that is not empty, read-only; `origin` knows what is in them."""
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    whole = np.frombuffer(mapped, np.uint8)
    address = whole.ctypes.data
    entry = _Mapping(
        weakref.ref(whole), os.path.abspath(path), _identity(os.fstat(file.fileno()))  # noqa: PTH100 - it outlives a change of directory
    )  # fmt: skip
    with _lock:
        for known in [each for each, found in _mappings.items() if found.whole() is None]:
            del _mappings[known]
        _mappings[address] = entry
    return whole


def origin(array: Array) -> Origin | None:
    """Where the array's bytes lie in a mapped file; None if elsewhere, or the file is another."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    entry = _mappings.get(base.ctypes.data)
    if entry is None or entry.whole() is not base or not array.flags.c_contiguous:
        return None
    try:
        if _identity(os.stat(entry.path)) != entry.identity:  # noqa: PTH116 - a string
            return None
    except OSError:
        return None
    return Origin(entry.path, array.ctypes.data - base.ctypes.data)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
