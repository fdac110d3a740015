"""Documents of the control API that more than one place writes."""

from __future__ import annotations

from typing import Any

from elastic_inference.catalog import AcceleratorType

Document = dict[str, Any]


def describe_type(type_: AcceleratorType) -> Document:
    """An accelerator type as the API has it."""
    return {
        "acceleratorTypeName": type_.name,
        "aliases": list(type_.aliases),
        "memoryMiB": type_.memory_mib,
        "tflopsFp32": type_.tflops_fp32,
        "tflopsFp16": type_.tflops_fp16,
        "pricePerHour": type_.price_per_hour,
    }
