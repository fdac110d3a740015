"""An accelerator's memory: what it uses, what it may use, and who is turned away.

On a CPU the process itself is the slice: used is its anonymous memory above the baseline,
which is taken once the engine is imported, plus the weights that loaded models map from files.
On a GPU it is the device memory of the process. A load or call is judged by what it leaves
behind: the engine's arena keeps its peak, so one measured call of a signature answers for all
later ones. Whoever would be turned away first has models that can be made smaller finished (see
`LoadedModel.finish`). RLIMIT_DATA only stops what runs away before it can be measured: it
counts address space that is never touched.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from elastic_inference.accelerator.engines.base import LoadedModel
from elastic_inference.errors import AcceleratorOutOfMemoryError, LimitExceededError
from elastic_inference.protocol.tensors import Value

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MARGIN = 256 * 1024 * 1024
_STACK = 512 * 1024
_MAX_SIGNATURES = 4096


class MemoryReader(Protocol):
    """Tells how much memory this process holds."""

    def read(self) -> int:
        """Bytes."""


class ProcessMemory:
    """The anonymous memory of this process, in about 3 µs."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        _, resident, shared, *_ = os.pread(self._file, 128, 0).split()
        return (int(resident) - int(shared)) * _PAGE


class MemoryAccount:
    """Keeps an accelerator within its memory.

    Args:
        limit: bytes of the slice.
        trim: returns unused memory to the system (the engine's `trim`).
        reader: whose memory counts.
        backstop: set RLIMIT_DATA of this process well above the limit.
        load_wait: longest wait for another load, in seconds.

    Attributes:
        limit: as given.
        peak: the highest of all measured uses, in bytes.
    """

    def __init__(
        self,
        limit: int,
        trim: Callable[[], None],
        *,
        reader: MemoryReader | None = None,
        backstop: bool = False,
        load_wait: float = 120.0,
    ) -> None:
        self.limit = limit
        self._trim = trim
        self._reader = reader or ProcessMemory()
        self._load_wait = load_wait
        self._lock = threading.Lock()
        # Loads and preparations happen one at a time; a load that waits goes first.
        self._turn = threading.Condition()
        self._busy = False
        self._loads_waiting = 0
        self._trim_due = False
        self._guards: list[GuardedModel] = []
        self._soft: int | None = None
        self.peak = 0
        # One item per call under way. Appending and popping are atomic; counting is not.
        self.running: list[None] = []
        self.epoch = 0
        # What the engine sets up at its first use belongs to the baseline.
        trim()
        self._baseline = self._reader.read()
        if backstop:
            self._soft = 0
            self._set_backstop()

    def used(self) -> int:
        """Bytes in use: AcceleratorMemoryUsage."""
        mapped = sum(guarded.model.mapped_bytes for guarded in tuple(self._guards))
        used = max(0, self._reader.read() - self._baseline) + mapped
        self.peak = max(self.peak, used)
        return used

    def room(self) -> int:
        """Bytes of the slice that are free."""
        return max(0, self.limit - self.used())

    def trim(self) -> None:
        """Return unused memory to the system."""
        self._trim()

    def settle(self) -> None:
        """Trim, and measure every signature anew, if more than the limit is in use.

        Calls that fit one by one can add up; call this every few seconds.
        """
        if self._trim_due:
            self._trim_due = False
            self._trim()
        if self.used() > self.limit:
            self._trim()
            self._forget()

    def load(self, size: int, loader: Callable[[], LoadedModel]) -> GuardedModel:
        """Load a model of `size` bytes of files, if it fits beside what is loaded.

        Raises:
            AcceleratorOutOfMemoryError: it does not; everything loaded before is as it was.
            LimitExceededError: other loads took too long.
        """
        with self._alone():
            return self._load(size, loader)

    def finish(self, guarded: GuardedModel) -> None:
        """Finish the model, when no load is under way or waits."""
        with self._alone(give_way=True):
            self._finish(guarded)

    def reclaim(self) -> None:
        """Get back all memory that is to be had: finish what is not, and trim."""
        if any(guarded.model.unfinished for guarded in tuple(self._guards)):
            with suppress(LimitExceededError), self._alone():
                self._finish_all()
        else:
            self._trim()

    def unload(self, guarded: GuardedModel) -> None:
        """Close the model and give its memory back. No call of it may be under way."""
        self._drop(guarded)
        self._set_backstop()

    def thread_started(self) -> None:
        """A connection's thread runs: its stack must not count against the backstop."""
        self._move_backstop(_STACK)

    def thread_ended(self) -> None:
        self._move_backstop(-_STACK)

    def _load(self, size: int, loader: Callable[[], LoadedModel]) -> GuardedModel:
        if size > self.room():
            self._finish_all()
            if size > self.room():
                raise AcceleratorOutOfMemoryError
        try:
            model = loader()
        except AcceleratorOutOfMemoryError:
            self._trim()
            raise
        guarded = GuardedModel(self, model)
        with self._lock:
            self._guards.append(guarded)
        if self._over():
            self._drop(guarded)
            raise AcceleratorOutOfMemoryError
        self._forget()
        return guarded

    @contextmanager
    def _alone(self, *, give_way: bool = False) -> Iterator[None]:
        """Be the only one that loads or prepares, with address space for its passing peaks.

        Args:
            give_way: let every load go first, and wait for as long as that takes.
        """
        deadline = None if give_way else time.monotonic() + self._load_wait
        with self._turn:
            self._loads_waiting += not give_way
            try:
                while self._busy or (give_way and self._loads_waiting):
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise LimitExceededError(
                            "Other models are being loaded for too long.",
                            next_step="Try again later.",
                        )
                    self._turn.wait(left)
                self._busy = True
            finally:
                self._loads_waiting -= not give_way
                self._turn.notify_all()
        self._set_backstop()
        try:
            yield
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()
            self._set_backstop()

    def _finish(self, guarded: GuardedModel) -> None:
        if guarded.model.unfinished:
            guarded.model.finish()
            self._trim()
            # Calls under way keep what they began with for a while.
            self._trim_due = True

    def _finish_all(self) -> None:
        for guarded in tuple(self._guards):
            self._finish(guarded)
        self._trim()

    def _drop(self, guarded: GuardedModel) -> None:
        with self._lock:
            self._guards.remove(guarded)
        guarded.model.close()
        self._trim()

    def _over(self) -> bool:
        if self.used() <= self.limit:
            return False
        self._finish_all()
        return self.used() > self.limit

    def _forget(self) -> None:
        """What was measured to fit may not fit any more."""
        with self._lock:
            self.epoch += 1
            for guarded in self._guards:
                guarded.forget()

    def _set_backstop(self) -> None:
        """Room for the rest of the slice and a margin; for a load's passing peaks the whole of it
        once more.
        """
        if self._soft is None:
            return
        room = self.room() + _MARGIN
        with self._lock:
            self._soft = _data_bytes() + room + (self.limit if self._busy else 0)
            self._apply_backstop()

    def _move_backstop(self, delta: int) -> None:
        if self._soft is None:
            return
        with self._lock:
            self._soft += delta
            self._apply_backstop()

    def _apply_backstop(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = self._soft or resource.RLIM_INFINITY
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        with suppress(ValueError, OSError):  # a backstop that cannot be set is none
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class GuardedModel:
    """A loaded model whose calls stay within the account's limit."""

    def __init__(self, account: MemoryAccount, model: LoadedModel) -> None:
        self.model = model
        self._account = account
        self._running = account.running
        # How many calls at one time each signature was seen to fit among.
        self._fits: dict[Hashable, int] = {}

    def run(
        self,
        signature: Hashable,
        feeds: Mapping[str, Value],
        outputs: Sequence[str] | None = None,
    ) -> Sequence[Value]:
        """`LoadedModel.run` within the limit.

        Args:
            signature: equal for calls with equal names, dtypes and shapes.

        Raises:
            AcceleratorOutOfMemoryError: the call would pass the limit; the next one that fits
                works as before.
        """
        running = self._running
        running.append(None)
        try:
            if self._fits.get(signature, 0) >= len(running):
                try:
                    return self.model.run(feeds, outputs)
                except AcceleratorOutOfMemoryError:
                    self._account.reclaim()
            return self._measured(signature, feeds, outputs)
        finally:
            running.pop()

    def forget(self) -> None:
        self._fits = {}

    def _measured(
        self, signature: Hashable, feeds: Mapping[str, Value], outputs: Sequence[str] | None
    ) -> Sequence[Value]:
        account = self._account
        epoch = account.epoch
        for last in (False, True):
            level = len(self._running)
            try:
                result = self.model.run(feeds, outputs)
            except AcceleratorOutOfMemoryError:
                if last:
                    account.trim()
                    raise
            else:
                if account.used() <= account.limit:
                    if account.epoch == epoch:
                        self._remember(signature, level)
                    return result
                del result
            # Unused room that other models left behind may be all that was missing.
            account.reclaim()
        raise AcceleratorOutOfMemoryError

    def _remember(self, signature: Hashable, level: int) -> None:
        fits = self._fits
        if len(fits) >= _MAX_SIGNATURES:
            fits = self._fits = {}
        fits[signature] = max(level, fits.get(signature, 0))


def _data_bytes() -> int:
    """VmData: what RLIMIT_DATA is compared with."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read often, so without Path
        return int(file.read().split()[5]) * _PAGE
