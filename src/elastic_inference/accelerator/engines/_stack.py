"""Work that needs more stack than the threads of connections have."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# ONNX Runtime inlines functions that call each other by recursion, with about 8 KiB each; this
# holds for as many as `onnxfile.MAX_FUNCTIONS`.
_STACK = 64 * 1024 * 1024
_LOWEST_PRIORITY = 19
_sizing = threading.Lock()


def on_large_stack(work: Callable[[], T], *, nice: int = 0) -> T:
    """What `work` returns or raises, run by a thread with a large stack.

    Args:
        nice: by how much the thread, and each that it starts, gives way to others.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if nice:
                thread_id = threading.get_native_id()
                level = os.getpriority(os.PRIO_PROCESS, thread_id) + nice
                os.setpriority(os.PRIO_PROCESS, thread_id, min(level, _LOWEST_PRIORITY))
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="load")
    with _sizing:
        before = threading.stack_size(_STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
