"""What is fuzzed: a target takes any bytes, and says what must hold whatever they are."""

from __future__ import annotations

import mmap
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from elastic_inference.errors import ElasticInferenceError, InternalError
from tests.fuzz.mutations import mutate_bytes

T = TypeVar("T")


class Target(ABC):
    """Something that reads bytes from outside.

    Attributes:
        name: as `FUZZ_TARGET` gives it.
        cases: how many of a million cases are its own.
        max_length: of a case, in bytes.
        settle_every: after how many cases `settle` is called.
        most_memory: by how many bytes one case may make the process larger.
        alone: it needs a process of its own, which a case may end.
    """

    name: ClassVar[str]
    cases: ClassVar[int]
    max_length: ClassVar[int] = 4096
    settle_every: ClassVar[int] = 2000
    most_memory: ClassVar[int] = 256 << 20
    alone: ClassVar[bool] = False

    @cached_property
    def seeds(self) -> tuple[bytes, ...]:
        """Valid cases of every kind."""
        return tuple(self.make_seeds())

    @abstractmethod
    def make_seeds(self) -> Sequence[bytes]:
        """See `seeds`."""

    @abstractmethod
    def run(self, case: bytes) -> None:
        """Try `case`; whatever is raised is a find."""

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        """Another case like this one, by what is known of the format."""
        return mutate_bytes(chance, case, self.seeds)

    def settle(self) -> None:  # noqa: B027 - most leave nothing
        """Check that the cases so far left nothing behind; raises if they did."""

    def close(self) -> None:  # noqa: B027 - most start nothing
        """End what the target started."""


def accepted(call: Callable[..., T], *arguments: Any) -> T | None:
    """What `call` returns, or None where it refuses by an error of the tree.

    Raises:
        InternalError: a defect says so.
        Exception: anything else is one.
    """
    try:
        return call(*arguments)
    except InternalError:
        raise
    except ElasticInferenceError:
        return None


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * mmap.PAGESIZE


def count_entries(folder: Path) -> int:
    """How many entries a folder has; of /proc/self/fd, file descriptors of this process."""
    return sum(1 for _ in folder.iterdir())
