"""This machine as a node: what it has for accelerators, and what of it is taken."""

from __future__ import annotations

import math
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from elastic_inference.accelerator.devices import Device, discover
from elastic_inference.catalog import MIB, AcceleratorType
from elastic_inference.errors import InsufficientCapacityError
from elastic_inference.fleet.base import DeviceReport, NodeReport, Placement
from elastic_inference.settings import PoolSettings

_MEMINFO = Path("/proc/meminfo")
_CUDA_PROVIDER = "capi/libonnxruntime_providers_cuda.so"
# Sums of fractions that are exact on paper are not so in binary.
_ROUNDING = 1e-9


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


@dataclass(frozen=True, slots=True)
class _Share:
    device: str
    memory_bytes: int
    tflops: float


class Node:
    """Places accelerators on this machine's devices by their free memory and compute.

    Args:
        devices: what accelerators may run on; found if None.
        measured: the TFLOPS that a device was measured to have, if it was.
    """

    def __init__(
        self,
        settings: PoolSettings,
        devices: Sequence[Device] | None = None,
        measured: Callable[[Device], float | None] = lambda _: None,
    ) -> None:
        self.name = socket.gethostname()
        self.devices = usable_devices() if devices is None else devices
        self._settings = settings
        self._measured = measured
        # Other programs use a machine's own memory too; a GPU is taken to be the pool's.
        self._memory = {
            device.id: device.memory_bytes
            if device.kind == "cuda"
            else settings.node_memory or available_memory()
            for device in self.devices
        }
        self._tflops = {device.id: self._compute(device) for device in self.devices}
        self._cores = len(os.sched_getaffinity(0))
        self._taken: dict[str, _Share] = {}
        self._lock = threading.Lock()

    @property
    def best_effort(self) -> bool:
        """Whether it only declares its TFLOPS: a processor is far below one accelerator's."""
        return any(device.kind == "cpu" for device in self.devices)

    def place(self, accelerator_type: AcceleratorType) -> Placement:
        """Reserve room for one accelerator, on the device with the most free memory.

        Raises:
            InsufficientCapacityError: no device has the memory and the compute.
        """
        with self._lock:
            device = self._roomiest(accelerator_type, self.devices)
            if device is None:
                raise self._full(accelerator_type)
            return self._reserve(accelerator_type, device)

    def replace(self, accelerator_type: AcceleratorType, old: Placement) -> Placement:
        """Reserve another place for what has `old`, on another device where there is room.

        `old` stays reserved until it is released. The two may share a device: only one of them
        is run in.
        """
        with self._lock:
            others = [device for device in self.devices if device.id != old.device]
            same = next((each for each in self.devices if each.id == old.device), self.devices[0])
            return self._reserve(accelerator_type, self._roomiest(accelerator_type, others) or same)

    def take(self, placement: Placement, tflops: float) -> None:
        """Reserve what an earlier fleet had placed here, whether there is room or not."""
        with self._lock:
            share = _Share(placement.device, placement.memory_bytes, tflops)
            self._taken[placement.place] = share

    def release(self, placement: Placement) -> None:
        """Give a reservation back; once or more."""
        with self._lock:
            self._taken.pop(placement.place, None)

    def report(self) -> NodeReport:
        """What the node has, and what of it is free."""
        with self._lock:
            reports = [self._report(device) for device in self.devices]
        return NodeReport(self.name, self.best_effort, tuple(reports))

    def _report(self, device: Device) -> DeviceReport:
        free = self._free_tflops(device.id)
        return DeviceReport(
            device=device.id,
            kind=device.kind,
            name=device.name,
            memory_bytes=self._memory[device.id],
            memory_free=max(0, self._free_memory(device.id)),
            tflops=self._tflops[device.id],
            tflops_free=None if free is None else max(0.0, round(free, 9)),
            measured_tflops=self._measured(device),
        )

    def _reserve(self, accelerator_type: AcceleratorType, device: Device) -> Placement:
        share = self._share(accelerator_type, device)
        placement = Placement(
            node=self.name,
            device=device.id,
            memory_bytes=accelerator_type.memory_bytes,
            threads=min(self._cores, max(1, int(self._cores * share))),
            percentage=100 if device.kind == "cpu" else max(1, math.ceil(100 * share)),
            place=secrets.token_hex(6),
        )
        self._taken[placement.place] = _Share(
            device.id, accelerator_type.memory_bytes, accelerator_type.tflops_fp32
        )
        return placement

    def _roomiest(
        self, accelerator_type: AcceleratorType, devices: Sequence[Device]
    ) -> Device | None:
        """Of the devices with room for the type, the one with the most free memory."""
        fitting = [device for device in devices if self._fits(accelerator_type, device.id)]
        return max(fitting, key=lambda each: self._free_memory(each.id), default=None)

    def _fits(self, accelerator_type: AcceleratorType, device: str) -> bool:
        tflops = self._free_tflops(device)
        return accelerator_type.memory_bytes <= self._free_memory(device) and (
            tflops is None or accelerator_type.tflops_fp32 <= tflops + _ROUNDING
        )

    def _full(self, accelerator_type: AcceleratorType) -> InsufficientCapacityError:
        best_effort = " (best effort)" if self.best_effort else ""
        free = "; ".join(self._free_text(device) for device in self.devices)
        return InsufficientCapacityError(
            f"No node has {accelerator_type.memory_mib} MiB and {accelerator_type.tflops_fp32:g}"
            f" TFLOPS{best_effort} free for an {accelerator_type.name}: {self.name} has {free}.",
            next_step="Take a smaller type, or end accelerators that are not needed"
            " (ei describe accelerators); EI_NODE_MEMORY and EI_VIRTUAL_TFLOPS set what a CPU"
            " node gives.",
        )

    def _free_text(self, device: Device) -> str:
        tflops = self._free_tflops(device.id)
        text = f"{max(0, self._free_memory(device.id)) // MIB} MiB"
        if tflops is not None:
            text += f" and {max(0.0, round(tflops, 3)):g} TFLOPS"
        return text if len(self.devices) == 1 else f"{text} on {device.id}"

    def _free_memory(self, device: str) -> int:
        taken = sum(each.memory_bytes for each in self._taken.values() if each.device == device)
        return self._memory[device] - taken

    def _free_tflops(self, device: str) -> float | None:
        whole = self._tflops[device]
        if whole is None:
            return None
        return whole - sum(each.tflops for each in self._taken.values() if each.device == device)

    def _compute(self, device: Device) -> float | None:
        """The TFLOPS that the device has for accelerators; None where nobody knows."""
        if device.kind == "cpu":
            return self._settings.virtual_tflops
        return self._settings.gpu_tflops or self._measured(device)

    def _share(self, accelerator_type: AcceleratorType, device: Device) -> float:
        """The type's part of the device's compute, from 0 to 1."""
        whole = self._tflops[device.id]
        if whole is None:
            return min(1.0, accelerator_type.memory_bytes / device.memory_bytes)
        return min(1.0, accelerator_type.tflops_fp32 / whole)


def _engine_has_cuda() -> bool:
    spec = find_spec("onnxruntime")
    places = spec.submodule_search_locations if spec is not None else None
    return any(Path(place, _CUDA_PROVIDER).exists() for place in places or ())
