"""The C library's heap: how it gives memory back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
# Blocks from here on are mapped one by one, and so go back to the system when freed. Setting
# it also stops the C library from raising it by itself.
_MAPPED_FROM = 1024 * 1024
# The most that the C library takes.
_MAPPED_FROM_WHILE_RECYCLING = 32 * 1024 * 1024
# Only of the first does the C library give back what is free at its end.
_ARENAS = 1


def configure() -> None:
    """Set up the heap of this process so that freed memory goes back; call it at the start."""
    with suppress(OSError, AttributeError):  # other C libraries have no such calls
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
        libc.mallopt(_M_TRIM_THRESHOLD, _MAPPED_FROM)


@contextmanager
def recycling() -> Iterator[None]:
    """Use freed blocks again rather than give each back, until the end; then all go back.

    Loading a model copies each weight several times. Taking fresh memory for every copy costs
    as much as the rest of the load.
    """
    _map_from(_MAPPED_FROM_WHILE_RECYCLING)
    try:
        yield
    finally:
        _map_from(_MAPPED_FROM)
        release_free()


def release_free() -> None:
    """Return what is free in the heap to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _map_from(size: int) -> None:
    """Map blocks of `size` bytes and more one by one."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, size)
