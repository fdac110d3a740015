"""That an accelerator keeps to its memory on the device, and goes on after a call that did not."""

from __future__ import annotations

import numpy as np

from benchmarks.client import open_accelerator
from benchmarks.gpu.models import SIZES, save
from benchmarks.gpu.plan import Plan
from benchmarks.report import Table
from benchmarks.target import target
from elastic_inference.errors import AcceleratorOutOfMemoryError

_LIMIT = 1 << 30
_LARGEST = 2048


def measure(plan: Plan) -> list[Table]:
    """Batches of ResNet-50 that double until one is refused.

    Raises:
        RuntimeError: none was, or a small one fails afterwards.
    """
    limit = _LIMIT // 8 if plan.quick else _LIMIT
    rows: list[tuple[object, ...]] = []
    with target(device=plan.device, memory_bytes=limit) as running:
        accelerator = open_accelerator(running.grant("unix"))
        try:
            with accelerator.load(save(plan.directory, "resnet50", "fp32")) as model:
                batch = 1
                refused: AcceleratorOutOfMemoryError | None = None
                while refused is None and batch <= _LARGEST:
                    x = np.zeros((batch, *SIZES["resnet50"]), np.float32)
                    try:
                        model.run({"x": x})
                    except AcceleratorOutOfMemoryError as error:
                        refused = error
                    used = accelerator.info()["memory"]["used"] >> 20
                    rows.append((batch, _outcome(refused), used))
                    batch *= 2
                if refused is None:
                    raise RuntimeError(f"a batch of {_LARGEST} fits {limit >> 20} MiB")
                model.run({"x": np.zeros((1, *SIZES["resnet50"]), np.float32)})
                used = accelerator.info()["memory"]["used"] >> 20
                rows.append((1, "done", used))
        finally:
            accelerator.close()
    return [
        Table(
            f"ResNet-50 on an accelerator of {limit >> 20} MiB",
            ("batch", "call", "memory in use afterwards, MiB"),
            rows,
        )
    ]


def _outcome(refused: AcceleratorOutOfMemoryError | None) -> str:
    return "done" if refused is None else f"{refused.message} {list(refused.ei_code or ())}"
