"""This machine as a node: what it has for accelerators, and what of it is taken."""

from __future__ import annotations

import math
import os
import re
import secrets
import socket
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from elastic_inference.accelerator.devices import Device, discover
from elastic_inference.catalog import MIB, AcceleratorType
from elastic_inference.errors import InsufficientCapacityError
from elastic_inference.fleet.base import Placement
from elastic_inference.settings import PoolSettings

_MEMINFO = Path("/proc/meminfo")
_CUDA_PROVIDER = "capi/libonnxruntime_providers_cuda.so"


def available_memory() -> int:
    """Bytes that this machine could give to new processes now."""
    text = _MEMINFO.read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def usable_devices() -> Sequence[Device]:
    """The GPUs where the engine can use them, else the CPU."""
    devices = discover()
    gpus = [device for device in devices if device.kind == "cuda"]
    if gpus and _engine_has_cuda():
        return gpus
    return [device for device in devices if device.kind == "cpu"]


class Node:
    """Places accelerators on this machine's devices by their free memory.

    Args:
        devices: what accelerators may run on; found if None.
    """

    def __init__(self, settings: PoolSettings, devices: Sequence[Device] | None = None) -> None:
        self.name = socket.gethostname()
        self._devices = usable_devices() if devices is None else devices
        # Other programs use a machine's own memory too; a GPU is taken to be the pool's.
        self._memory = {
            device.id: device.memory_bytes
            if device.kind == "cuda"
            else settings.node_memory or available_memory()
            for device in self._devices
        }
        self._settings = settings
        self._cores = len(os.sched_getaffinity(0))
        self._taken: dict[str, Placement] = {}
        self._lock = threading.Lock()

    def place(self, accelerator_type: AcceleratorType) -> Placement:
        """Reserve room for one accelerator, on the device with the most free memory.

        Raises:
            InsufficientCapacityError: there is none.
        """
        with self._lock:
            device = max(self._devices, key=lambda each: self._free(each.id))
            free = self._free(device.id)
            if accelerator_type.memory_bytes > free:
                raise InsufficientCapacityError(
                    f"No node has {accelerator_type.memory_mib} MiB free for an"
                    f" {accelerator_type.name}: {self.name} has {max(0, free) // MIB} MiB.",
                    next_step="Take a smaller type, or end accelerators that are not needed"
                    " (ei describe accelerators); EI_NODE_MEMORY sets a CPU node's memory.",
                )
            share = self._share(accelerator_type, device)
            placement = Placement(
                node=self.name,
                device=device.id,
                memory_bytes=accelerator_type.memory_bytes,
                threads=min(self._cores, max(1, int(self._cores * share))),
                percentage=100 if device.kind == "cpu" else max(1, math.ceil(100 * share)),
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

    def _free(self, device: str) -> int:
        taken = sum(each.memory_bytes for each in self._taken.values() if each.device == device)
        return self._memory[device] - taken

    def _share(self, accelerator_type: AcceleratorType, device: Device) -> float:
        """The type's part of the device's compute, from 0 to 1."""
        if device.kind == "cpu":
            whole: float | None = self._settings.virtual_tflops
        else:
            whole = self._settings.gpu_tflops
        if whole is None:
            return min(1.0, accelerator_type.memory_bytes / device.memory_bytes)
        return min(1.0, accelerator_type.tflops_fp32 / whole) if whole > 0 else 1.0


def _engine_has_cuda() -> bool:
    spec = find_spec("onnxruntime")
    places = spec.submodule_search_locations if spec is not None else None
    return any(Path(place, _CUDA_PROVIDER).exists() for place in places or ())
