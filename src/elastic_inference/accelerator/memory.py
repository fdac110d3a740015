"""An accelerator's memory: what it uses, what it may use, and who is turned away.

On a CPU the process itself is the slice: used is its anonymous memory above the baseline,
which is taken once the engine is imported, plus the weights that loaded models map from files.
On a GPU it is the device memory of the process. A load or call is judged by what it leaves
behind: the engine's arena keeps its peak, so one measured call of a signature answers for all
later ones. RLIMIT_DATA only stops what runs away before it can be measured: it counts address
space that is never touched.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
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
        self._mapped = 0
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._guards: list[GuardedModel] = []
        self._soft: int | None = None
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
        return max(0, self._reader.read() - self._baseline) + self._mapped

    def trim(self) -> None:
        """Return unused memory to the system."""
        self._trim()

    def settle(self) -> None:
        """Trim, and measure every signature anew, if more than the limit is in use.

        Calls that fit one by one can add up; call this every few seconds.
        """
        if self.used() > self.limit:
            self._trim()
            self._forget()

    def load(self, size: int, loader: Callable[[], LoadedModel]) -> GuardedModel:
        """Load a model of `size` bytes of files, if it fits beside what is loaded.

        Raises:
            AcceleratorOutOfMemoryError: it does not; everything loaded before is as it was.
            LimitExceededError: other loads took too long.
        """
        if not self._loading.acquire(timeout=self._load_wait):
            raise LimitExceededError(
                "Other models are being loaded for too long.", next_step="Try again later."
            )
        try:
            return self._load(size, loader)
        finally:
            self._loading.release()

    def unload(self, guarded: GuardedModel) -> None:
        """Close the model and give its memory back. No call of it may be under way."""
        with self._lock:
            self._mapped -= guarded.model.mapped_bytes
            self._guards.remove(guarded)
        guarded.model.close()
        self._trim()

    def thread_started(self) -> None:
        """A connection's thread runs: its stack must not count against the backstop."""
        self._move_backstop(_STACK)

    def thread_ended(self) -> None:
        self._move_backstop(-_STACK)

    def _load(self, size: int, loader: Callable[[], LoadedModel]) -> GuardedModel:
        if size + self.used() > self.limit:
            self._trim()
            if size + self.used() > self.limit:
                raise AcceleratorOutOfMemoryError
        self._set_backstop()
        try:
            model = loader()
        except AcceleratorOutOfMemoryError:
            self._trim()
            raise
        guarded = GuardedModel(self, model)
        with self._lock:
            self._mapped += model.mapped_bytes
            self._guards.append(guarded)
        if self._over():
            self.unload(guarded)
            raise AcceleratorOutOfMemoryError
        self._set_backstop()
        self._forget()
        return guarded

    def _over(self) -> bool:
        if self.used() <= self.limit:
            return False
        self._trim()
        return self.used() > self.limit

    def _forget(self) -> None:
        """What was measured to fit may not fit any more."""
        with self._lock:
            self.epoch += 1
            for guarded in self._guards:
                guarded.forget()

    def _set_backstop(self) -> None:
        """Room for the rest of the slice, once more as much for passing peaks, and a margin."""
        if self._soft is None:
            return
        rest = max(0, self.limit - self.used())
        with self._lock:
            self._soft = _data_bytes() + rest + self.limit + _MARGIN
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
                    self._account.trim()
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
            account.trim()
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
