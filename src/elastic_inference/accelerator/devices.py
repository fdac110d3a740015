"""Devices of this machine, and how the engine uses one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, InvalidRequestError

_TENSORRT = "libnvinfer.so.10"
_PROCESS_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Device:
    """Something that accelerators run on.

    Attributes:
        id: `cpu` or `cuda:N`, as configurations name it.
        kind: `cpu` or `cuda`.
        name: of the product.
        memory_bytes: all memory of the device.
        cores: CPU cores that this process may use; 0 for a GPU.
        uuid: NVIDIA's, or "".
        driver: its version, or "".
    """

    id: str
    kind: str
    name: str
    memory_bytes: int
    cores: int = 0
    uuid: str = ""
    driver: str = ""


def discover(nvml: Any = None) -> tuple[Device, ...]:
    """The devices of this machine: its GPUs, then its CPU.

    Args:
        nvml: the module to ask for GPUs; None for `pynvml`, where it is installed.
    """
    return (*_gpus(nvml), _cpu())


def providers_for(
    device: str, memory_bytes: int, available: Sequence[str], *, tensorrt: bool | None = None
) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's execution providers for `device`, best first, with their options.

    Args:
        device: `cpu` or `cuda:N`.
        memory_bytes: what the provider's arena may take; 0 for no limit.
        available: the providers that the engine was built with.
        tensorrt: whether TensorRT is installed; None to look.

    Raises:
        InvalidRequestError: no such device, or the engine was built without it.
    """
    cpu: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
    kind, _, ordinal = device.partition(":")
    if kind == "cpu":
        return [cpu]
    ordinal = ordinal or "0"
    if kind != "cuda" or not ordinal.isdigit():
        raise InvalidRequestError(
            f"Unknown device {device[:64]!r}.", next_step="Use cpu or cuda:N."
        )
    if "CUDAExecutionProvider" not in available:
        raise InvalidRequestError(
            f"ONNX Runtime cannot use {device}: it was built without CUDA.",
            next_step="Install the extra elastic-inference[gpu].",
        )
    chosen: list[tuple[str, dict[str, str]]] = []
    if tensorrt is None:
        tensorrt = _has_library(_TENSORRT)
    if tensorrt and "TensorrtExecutionProvider" in available:
        options = {"device_id": ordinal}
        if memory_bytes:
            options["trt_max_workspace_size"] = str(memory_bytes // 4)
        chosen.append(("TensorrtExecutionProvider", options))
    options = {"device_id": ordinal, "arena_extend_strategy": "kSameAsRequested"}
    if memory_bytes:
        options["gpu_mem_limit"] = str(memory_bytes)
    chosen.append(("CUDAExecutionProvider", options))
    return [*chosen, cpu]


class DeviceMemory:
    """The memory that this process holds on an NVIDIA GPU; a `memory.MemoryReader`.

    NVML names processes as the host does. In a container, where this process has another
    number, it is the one that appeared since this object was made.
    """

    def __init__(self, ordinal: int, nvml: Any = None) -> None:
        self._nvml = nvml or _nvml()
        if self._nvml is None:
            raise ConfigurationError(
                "NVML is not available.", next_step="Install the extra elastic-inference[gpu]."
            )
        try:
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(ordinal)
        except self._nvml.NVMLError as error:
            raise ConfigurationError(f"NVML has no device {ordinal}: {error}.") from error
        self._pid: int | None = None
        self._others = frozenset(self._held()) - {os.getpid()}

    def read(self) -> int:
        held = self._held()
        if self._pid is None:
            new = held.keys() - self._others
            if os.getpid() in held:
                self._pid = os.getpid()
            elif len(new) == 1:
                (self._pid,) = new
        return held.get(self._pid, 0) if self._pid is not None else 0

    def _held(self) -> dict[int, int]:
        """Bytes by process; those under MPS are in a list of their own."""
        held: dict[int, int] = {}
        for name in _PROCESS_LISTS:
            processes = getattr(self._nvml, name, None)
            # A driver that does not know MPS has no such list.
            with suppress(self._nvml.NVMLError):
                for each in processes(self._handle) if processes else ():
                    held[each.pid] = max(held.get(each.pid, 0), each.usedGpuMemory or 0)
        return held


def device_memory(device: str, nvml: Any = None) -> DeviceMemory:
    """The reader of this process's memory on the GPU `cuda:N`.

    Raises:
        ConfigurationError: it is not there, or cannot be asked.
    """
    kind, _, ordinal = device.partition(":")
    if kind != "cuda" or not (ordinal or "0").isdigit():
        raise ConfigurationError(f"Unknown device {device[:64]!r}.", next_step="Use cpu or cuda:N.")
    return DeviceMemory(_nvml_ordinal(int(ordinal or "0")), nvml)


def _nvml_ordinal(ordinal: int) -> int:
    """NVML counts every card, CUDA those that CUDA_VISIBLE_DEVICES names."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = visible[ordinal].strip() if ordinal < len(visible) else ""
    return int(named) if named.isdigit() else ordinal


def _cpu() -> Device:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = "CPU"
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return Device("cpu", "cpu", name, memory, cores=len(os.sched_getaffinity(0)))


def _gpus(nvml: Any) -> Iterator[Device]:
    nvml = nvml or _nvml()
    if nvml is None:
        return
    with _session(nvml) as usable:
        if not usable:
            return
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            yield Device(
                f"cuda:{index}",
                "cuda",
                _text(nvml.nvmlDeviceGetName(handle)),
                int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
                driver=driver,
            )


def _nvml() -> Any:
    try:
        return import_module("pynvml")
    except ImportError:
        return None


@contextmanager
def _session(nvml: Any) -> Iterator[bool]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # the library is there, a driver is not
        yield False
        return
    try:
        yield True
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
