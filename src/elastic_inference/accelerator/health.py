"""Whether the accelerator really infers: a tiny inference of its own, and its device's failures.

The tiny inference takes nothing that models share, so that it does not wait for the tenant's; on
a GPU, where kernels queue, one that is late while others run is the sign of work, not of illness.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.errors import AcceleratorOutOfMemoryError, ElasticInferenceError

OK, FAILED = "ok", "failed"
# Less than any health probe is waited for.
_PATIENCE = 0.5
# No queue of kernels is as long: what stands still for so long while others run has failed.
_LONGEST = 60.0
_MAX_TEXT = 300


@dataclass(slots=True)
class _Run:
    began: float
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)


class HealthCheck:
    """The health of one accelerator.

    Args:
        check: the tiny inference; see `Engine.check`.
        busy: whether the engine runs anything else.
        thread_started: told of the thread that the checks run in.
        patience: seconds to wait for a check.
        clock: seconds.
    """

    def __init__(
        self,
        check: Callable[[], None],
        busy: Callable[[], bool],
        thread_started: Callable[[], None] = lambda: None,
        *,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._busy = busy
        self._patience = patience
        self._clock = clock
        self._device = OK
        self._lock = threading.Lock()
        self._runs: queue.SimpleQueue[_Run] = queue.SimpleQueue()
        self._last: _Run | None = None
        threading.Thread(target=self._work, name="health", daemon=True).start()
        thread_started()

    def device_failed(self, why: str) -> None:
        """The device is of no use to this process any more; the first reason is kept."""
        if self._device == OK:
            self._device = why[:_MAX_TEXT] or "it has failed"

    def report(self) -> dict[str, Any]:
        """`{"live": True, "inference", "device"}`, and `"error"` where the inference failed."""
        error = self._infer()
        report: dict[str, Any] = {
            "live": True,
            "inference": FAILED if error else OK,
            "device": self._device,
        }
        return {**report, "error": error} if error else report

    def _infer(self) -> str:
        """Why the tiny inference failed; "" if it did not."""
        run = self._begin()
        if run.done.wait(self._patience):
            return run.error
        late = self._clock() - run.began
        if self._busy() and late < _LONGEST:
            return ""
        return f"it has not ended in {max(late, self._patience):.1f} s"

    def _begin(self) -> _Run:
        """A run that has just begun, or one that has not ended yet."""
        with self._lock:
            if self._last is None or self._last.done.is_set():
                self._last = _Run(self._clock())
                self._runs.put(self._last)
            return self._last

    def _work(self) -> None:
        while True:
            run = self._runs.get()
            try:
                self._check()
            except (AcceleratorOutOfMemoryError, MemoryError):
                pass  # An accelerator that its tenant has filled is not ill.
            except ElasticInferenceError as error:
                run.error = error.message[:_MAX_TEXT]
            except Exception as error:  # noqa: BLE001 - whatever it is, the check has failed
                run.error = repr(error)[:_MAX_TEXT]
            finally:
                run.done.set()
