"""Devices and providers. This machine has no NVIDIA card: a small module stands for NVML."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from elastic_inference.accelerator.devices import device_memory, discover, providers_for
from elastic_inference.errors import ConfigurationError, InvalidRequestError

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class NVMLError(Exception):
    pass


def nvml(count: int = 2, *, driver: bool = True, names: Any = b"NVIDIA L4") -> Any:
    """Stands for the `pynvml` module on a machine with `count` cards."""
    calls: list[str] = []

    def init() -> None:
        calls.append("init")
        if not driver:
            raise NVMLError("Driver Not Loaded")

    def by_index(index: int) -> int:
        if index >= count:
            raise NVMLError("Invalid Argument")
        return index

    running = [
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=300),
        SimpleNamespace(pid=os.getpid() + 1, usedGpuMemory=7000),
    ]
    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: calls.append("shutdown"),
        nvmlSystemGetDriverVersion=lambda: b"570.86",
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetName=lambda _: names,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=24 << 30),
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetComputeRunningProcesses=lambda handle: running[: 2 - handle],
        calls=calls,
    )


def test_the_cpu_is_always_there() -> None:
    cpu = discover(nvml(0))[-1]
    assert (cpu.id, cpu.kind, cpu.uuid) == ("cpu", "cpu", "")
    assert cpu.cores == len(os.sched_getaffinity(0))
    assert cpu.memory_bytes > 1 << 28
    assert cpu.name


def test_gpus_come_first_with_name_memory_and_uuid() -> None:
    module = nvml(2)
    first, second, cpu = discover(module)
    assert (first.id, second.id, cpu.id) == ("cuda:0", "cuda:1", "cpu")
    assert (first.name, first.memory_bytes, second.uuid) == ("NVIDIA L4", 24 << 30, "GPU-1")
    assert module.calls == ["init", "shutdown"]
    assert discover(nvml(1, names="NVIDIA L4"))[0].name == "NVIDIA L4"


def test_a_library_without_a_driver_means_no_gpu() -> None:
    assert [device.kind for device in discover(nvml(driver=False))] == ["cpu"]


def test_the_providers_of_a_cpu() -> None:
    assert providers_for("cpu", 1 << 30, ALL) == [("CPUExecutionProvider", {})]


def test_the_providers_of_a_gpu_are_bounded_and_in_order() -> None:
    chosen = providers_for("cuda:1", 1 << 30, ALL, tensorrt=True)
    assert [name for name, _ in chosen] == ALL
    assert all(options["device_id"] == "1" for _, options in chosen[:2])
    assert chosen[1][1]["gpu_mem_limit"] == str(1 << 30)
    without = providers_for("cuda", 0, ALL, tensorrt=False)
    assert [name for name, _ in without] == ALL[1:]
    assert without[0][1]["device_id"] == "0"
    assert "gpu_mem_limit" not in without[0][1]
    assert [name for name, _ in providers_for("cuda:0", 1, ALL[1:], tensorrt=True)] == ALL[1:]


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "rocm:0", ""])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(InvalidRequestError, match="Unknown device"):
        providers_for(device, 0, ALL)


def test_an_engine_without_cuda_is_told_what_to_install() -> None:
    with pytest.raises(InvalidRequestError, match="without CUDA") as caught:
        providers_for("cuda:0", 0, ["CPUExecutionProvider"])
    assert "gpu" in caught.value.next_step


def test_device_memory_is_that_of_this_process() -> None:
    assert device_memory("cuda:0", nvml()).read() == 300
    with pytest.raises(ConfigurationError, match="no device 7"):
        device_memory("cuda:7", nvml())
    with pytest.raises(ConfigurationError, match="no device 0"):
        device_memory("cuda:0", nvml(driver=False))
    with pytest.raises(ConfigurationError, match="Unknown device"):
        device_memory("cpu", nvml())


def test_device_memory_under_mps_is_in_a_list_of_its_own() -> None:
    module = nvml()
    module.nvmlDeviceGetComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=1, usedGpuMemory=30)
    ]
    module.nvmlDeviceGetMPSComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=400)
    ]
    assert device_memory("cuda:0", module).read() == 400

    def unknown(_: object) -> list[object]:
        raise NVMLError("Not Supported")

    module.nvmlDeviceGetMPSComputeRunningProcesses = unknown
    assert device_memory("cuda:0", module).read() == 0


def test_device_memory_in_a_container_is_that_of_the_process_that_appeared() -> None:
    """NVML tells the host's numbers of processes, none of which is this one's own."""
    module = nvml()
    running = [SimpleNamespace(pid=999_001, usedGpuMemory=50)]
    module.nvmlDeviceGetComputeRunningProcesses = lambda _: running
    memory = device_memory("cuda:0", module)
    assert memory.read() == 0
    running.append(SimpleNamespace(pid=999_002, usedGpuMemory=60))
    assert memory.read() == 60
    running.append(SimpleNamespace(pid=999_003, usedGpuMemory=70))
    assert memory.read() == 60
    del running[1]
    assert memory.read() == 0
