"""Documents of the control API that more than one place writes."""

from __future__ import annotations

from typing import Any

from elastic_inference.catalog import MIB, AcceleratorType
from elastic_inference.fleet.base import DeviceReport

Document = dict[str, Any]


def describe_type(type_: AcceleratorType, price: float | None = None) -> Document:
    """An accelerator type as the API has it, at the price that it has now."""
    return {
        "acceleratorTypeName": type_.name,
        "aliases": list(type_.aliases),
        "memoryMiB": type_.memory_mib,
        "tflopsFp32": type_.tflops_fp32,
        "tflopsFp16": type_.tflops_fp16,
        "pricePerHour": type_.price_per_hour if price is None else price,
    }


def describe_device(device: DeviceReport) -> Document:
    """A device of a node as the API has it."""
    return {
        "device": device.device,
        "kind": device.kind,
        "name": device.name,
        "memoryMiB": device.memory_bytes // MIB,
        "memoryFreeMiB": device.memory_free // MIB,
        "tflops": device.tflops,
        "tflopsFree": device.tflops_free,
        "measuredTflops": device.measured_tflops,
    }
