"""What each worker has done, in a file that outlives whatever happens to the worker.

A worker writes its numbers where the driver reads them at any time, also of one that is stopped
or has been killed: eight little-endian 64-bit integers, one after the other.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Field(IntEnum):
    """Where a number lies."""

    BEGUN = 0
    """Requests that were begun."""
    RIGHT = 1
    """Requests that got their own right answer."""
    CLEAR = 2
    """Requests that got one error of the tree that says what happened."""
    UNCLEAR = 3
    """Requests that ended in any other way."""
    WRONG = 4
    """Requests that got an answer that is not theirs."""
    SINCE = 5
    """When the latest request was begun, in nanoseconds of the monotonic clock."""
    SLOWEST = 6
    """The longest request that got its answer, in nanoseconds."""
    LATENCY = 7
    """A running mean of the time that right answers took, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Score:
    """A worker's numbers at one moment; see `Field`."""

    begun: int = 0
    right: int = 0
    clear: int = 0
    unclear: int = 0
    wrong: int = 0
    since: int = 0
    slowest: int = 0
    latency: int = 0

    @property
    def ended(self) -> int:
        """Requests whose outcome is known."""
        return self.right + self.clear + self.unclear + self.wrong


class Scoreboard:
    """One worker's numbers, shared between it and the driver."""

    def __init__(self, path: Path) -> None:
        size = len(Field) * 8
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)

    def read(self) -> Score:
        """The numbers as they are now."""
        return Score(*struct.unpack(f"<{len(Field)}q", self._memory[:]))

    def get(self, field: Field) -> int:
        value: int = struct.unpack_from("<q", self._memory, field * 8)[0]
        return value

    def put(self, field: Field, value: int) -> None:
        struct.pack_into("<q", self._memory, field * 8, value)

    def add(self, field: Field) -> None:
        """Count one more."""
        self.put(field, self.get(field) + 1)

    def close(self) -> None:
        self._memory.close()
