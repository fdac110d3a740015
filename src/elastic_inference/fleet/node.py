"""This machine as a node: what it has for accelerators, and what of it is taken."""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from pathlib import Path

from elastic_inference.catalog import MIB, AcceleratorType
from elastic_inference.errors import InsufficientCapacityError
from elastic_inference.fleet.base import Placement
from elastic_inference.settings import PoolSettings

_MEMINFO = Path("/proc/meminfo")


def available_memory() -> int:
    """Bytes that this machine could give to new processes now."""
    text = _MEMINFO.read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


class Node:
    """Places accelerators on this machine's devices by their free memory."""

    def __init__(self, settings: PoolSettings) -> None:
        self.name = socket.gethostname()
        self._memory = settings.node_memory or available_memory()
        self._tflops = settings.virtual_tflops
        self._cores = len(os.sched_getaffinity(0))
        self._taken: dict[str, Placement] = {}
        self._lock = threading.Lock()

    def place(self, accelerator_type: AcceleratorType) -> Placement:
        """Reserve room for one accelerator.

        Raises:
            InsufficientCapacityError: there is none.
        """
        with self._lock:
            free = self._memory - sum(each.memory_bytes for each in self._taken.values())
            if accelerator_type.memory_bytes > free:
                raise InsufficientCapacityError(
                    f"No node has {accelerator_type.memory_mib} MiB free for an"
                    f" {accelerator_type.name}: {self.name} has {max(0, free) // MIB} MiB.",
                    next_step="Take a smaller type, or end accelerators that are not needed"
                    " (ei describe accelerators); EI_NODE_MEMORY sets a CPU node's memory.",
                )
            placement = Placement(
                node=self.name,
                device="cpu",
                memory_bytes=accelerator_type.memory_bytes,
                threads=self._threads(accelerator_type),
                percentage=100,
                place=secrets.token_hex(6),
            )
            self._taken[placement.place] = placement
            return placement

    def take(self, placement: Placement) -> None:
        """Reserve what an earlier fleet had placed here, whether there is room or not."""
        with self._lock:
            self._taken[placement.place] = placement

    def release(self, placement: Placement) -> None:
        """Give a reservation back; once or more."""
        with self._lock:
            self._taken.pop(placement.place, None)

    def _threads(self, accelerator_type: AcceleratorType) -> int:
        share = accelerator_type.tflops_fp32 / self._tflops if self._tflops > 0 else 1.0
        return min(self._cores, max(1, int(self._cores * share)))
