"""The memory behind arrays: there at once, or when a computation that is under way ends."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from elastic_inference.protocol.tensors import Array


class Pending(Protocol):
    """A value that is being computed."""

    def result(self) -> Array:
        """Wait for it; raises what its computation raised, each time.

        The array is read-only: there may be several who take it.
        """


class Chunk:
    """The memory of an array and of all its views.

    Attributes:
        version: grows with every change of the content.
    """

    __slots__ = ("_array", "_pending", "version")

    def __init__(self, array: Array | None = None, pending: Pending | None = None) -> None:
        self._array = array
        self._pending = pending
        self.version = 0

    @property
    def array(self) -> Array:
        """The content; waits for it."""
        pending = self._pending
        if pending is not None:
            self._array = pending.result()
            # Another computation may have been begun while this one was waited for.
            if self._pending is pending:
                self._pending = None
        if self._array is None:
            raise AssertionError("a chunk without content")
        return self._array

    @property
    def pending(self) -> Pending | None:
        """The computation that the content comes from, while it is not known to have ended."""
        return self._pending

    @property
    def memory(self) -> Array:
        """The content in memory of this chunk alone, which may be changed."""
        array = self.array
        if not array.flags.writeable:
            array = self._array = array.copy()
        return array

    def writable(self) -> Array:
        """The content, to be changed now."""
        self.version += 1
        return self.memory

    def expect(self, pending: Pending) -> None:
        """Take the content from a computation that was begun."""
        self.version += 1
        self._pending = pending

    def share(self, other: Chunk) -> None:
        """Take the content of another chunk, or of the computation that it comes from.

        Nothing is copied that nobody may change: who changes it takes a copy first.
        """
        pending = other.pending
        if pending is not None:
            self.expect(pending)
        else:
            self.put(frozen(other.array))

    def put(self, array: Array) -> None:
        """Take other memory for the content."""
        self.version += 1
        self._array = array
        self._pending = None


def frozen(array: Array) -> Array:
    """The content of `array` in memory that nobody changes any more."""
    if not array.flags.writeable and _base_is_frozen(array):
        return array
    copied = array.copy()
    copied.flags.writeable = False
    return copied


def _base_is_frozen(array: Array) -> bool:
    base = array.base
    return not isinstance(base, np.ndarray) or not base.flags.writeable
