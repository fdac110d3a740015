"""How a run on a GPU measures, and how much time it has left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        directory: a temporary folder.
        device: of the accelerators, `cuda:0`, or `cpu` for a run that only shows that it works.
        deadline: monotonic seconds; what has not begun by then is left out.
        quick: little of everything.
    """

    directory: Path
    device: str
    deadline: float
    quick: bool

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def provider(self) -> str:
        return "CUDAExecutionProvider" if self.on_gpu else "CPUExecutionProvider"

    @property
    def batches(self) -> tuple[int, ...]:
        return (1,) if self.quick else (1, 2, 4, 8, 16, 32)

    def has(self, seconds: float) -> bool:
        """Whether so much time is left."""
        return time.monotonic() + seconds < self.deadline
