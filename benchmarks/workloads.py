"""The measured workloads: what each model is given and answers.

The weights are random; what a model computes does not matter to how long its bytes travel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Workload:
    """A model and the shape and dtype of what it is given.

    Attributes:
        name: as it appears in the tables.
        shape, dtype: of the one input, called `x`.
        response_bytes: size of the one output, called `y`.
        bar: how many times the floor plus ONNX Runtime it may take; None where no bar is set.
        patience: how many times longer than the others it is measured in each round.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    response_bytes: int
    bar: float | None
    patience: float = 1.0

    @property
    def request_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def datatype(self) -> str:
        """As the Open Inference Protocol names it."""
        return {"float32": "FP32", "uint8": "UINT8"}[self.dtype]

    def feed(self) -> npt.NDArray[Any]:
        """A random input, the same in every process."""
        rng = np.random.default_rng(7)
        if self.dtype == "uint8":
            return rng.integers(0, 256, self.shape, np.uint8)
        return rng.standard_normal(self.shape, np.float32).astype(self.dtype, copy=False)

    def save(self, directory: Path) -> Path:
        """The model's file in `directory`, written if it is not there."""
        path = directory / f"{self.name}.onnx"
        if not path.exists():
            from benchmarks.models import BUILDERS

            path.write_bytes(BUILDERS[self.name]().SerializeToString())
        return path


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tiny", (1, 16), "float32", 64, 1.5),
        Workload("image", (1, 3, 224, 224), "float32", 4000, 1.25),
        Workload("frame", (1, 1080, 1920, 3), "uint8", 12, 1.25),
        Workload("resnet50", (1, 3, 224, 224), "float32", 4000, None, 2.0),
    )
}
