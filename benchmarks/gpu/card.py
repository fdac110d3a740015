"""The NVIDIA card that is measured, and what is on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Card:
    """The first card that NVML has.

    Attributes:
        name, driver: as NVML tells them.
        memory: bytes of all of it.
    """

    name: str
    driver: str
    memory: int
    _nvml: Any
    _handle: Any

    def used(self) -> int:
        """Bytes that are taken, by anybody."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def processes(self) -> set[int]:
        """Who computes there, as the host numbers processes."""
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return {each.pid for each in running}


def find() -> Card | None:
    """The card; None where there is none, or no driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return Card(
            _text(pynvml.nvmlDeviceGetName(handle)),
            _text(pynvml.nvmlSystemGetDriverVersion()),
            int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            pynvml,
            handle,
        )
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
