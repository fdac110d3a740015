"""Where the messages of a connection are laid down: aligned buffers, used again and again."""

from __future__ import annotations

import mmap
import threading

from elastic_inference.accelerator.channel import BufferBudget
from elastic_inference.errors import LimitExceededError
from elastic_inference.protocol.inference import ALIGNMENT
from elastic_inference.protocol.tensors import Buffer

_PAGE = mmap.PAGESIZE
_LEAST = 65536
_ROUNDED_BELOW = 8 * 1024 * 1024
_MOST_KEPT = 2
_KEEP_BYTES = 64 * 1024 * 1024
# Less than this is not worth a buffer of its own.
_SMALL = 16384
_MAX_KNOWN = 64


class Landing:
    """The buffers of one connection, within the budget of all."""

    def __init__(self, budget: BufferBudget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._free: list[Buffer] = []
        self._offsets: dict[int, int] = {}
        self._closed = False

    def place(self, size: int) -> tuple[Buffer, Buffer | None]:
        """Room for a message of `size` bytes, and the buffer to give back for it, if any.

        Raises:
            LimitExceededError: the messages of all connections take too much.
        """
        if size <= _SMALL:
            return memoryview(bytearray(size)), None
        pad = -self._offsets.get(size, 0) % ALIGNMENT
        buffer = self._take(pad + size)
        return buffer[pad : pad + size], buffer

    def align(self, size: int, offset: int) -> None:
        """Lay the next messages of `size` bytes such that `offset` is well aligned."""
        if self._offsets.get(size) != offset:
            if len(self._offsets) >= _MAX_KNOWN:
                self._offsets.clear()
            self._offsets[size] = offset

    def _take(self, size: int) -> Buffer:
        with self._lock:
            for index, buffer in enumerate(self._free):
                if len(buffer) >= size:
                    return self._free.pop(index)
            # What is too small for this message is most likely too small for the next.
            self._drop(self._free)
        rounded = max(_LEAST, 1 << (size - 1).bit_length()) if size < _ROUNDED_BELOW else size
        rounded = -(-rounded // _PAGE) * _PAGE
        self._budget.change(rounded)
        try:
            return memoryview(mmap.mmap(-1, rounded))
        except OSError as error:
            self._budget.change(-rounded)
            raise LimitExceededError(
                f"There is no memory for a message of {size} bytes.",
                next_step="Repeat the request later.",
            ) from error

    def give_back(self, buffer: Buffer) -> None:
        """The message in `buffer` is done with."""
        with self._lock:
            if self._closed or len(self._free) >= _MOST_KEPT or len(buffer) > _KEEP_BYTES:
                self._budget.change(-len(buffer))
            else:
                self._free.append(buffer)

    def abandon(self, buffer: Buffer) -> None:
        """Use `buffer` no more; somebody may still be writing to it."""
        self._budget.change(-len(buffer))

    def charge(self, delta: int) -> None:
        """Count memory that messages take elsewhere.

        Raises:
            LimitExceededError: there is not so much left.
        """
        self._budget.change(delta)

    def release(self, keep: int = 0) -> None:
        """Give free buffers of more than `keep` bytes back to the system."""
        with self._lock:
            self._drop([buffer for buffer in self._free if len(buffer) > keep])

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop(self._free)

    def _drop(self, buffers: list[Buffer]) -> None:
        for buffer in list(buffers):
            self._budget.change(-len(buffer))
        kept = {id(buffer) for buffer in buffers}
        self._free = [buffer for buffer in self._free if id(buffer) not in kept]
