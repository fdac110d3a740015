"""nvidia-pytriton: Triton in front of functions of this process."""

from __future__ import annotations

import signal
import sys
from typing import Any

import numpy as np
from engine import Models, begin
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def bind(triton: Triton, models: Models, name: str) -> None:
    """Serve the model `name`."""
    run = models.open(name)
    shape, dtype, made = models.describe(name)

    def infer(requests: list[Any]) -> list[dict[str, Any]]:
        return [{"y": run(request["x"])} for request in requests]

    triton.bind(
        model_name=name,
        infer_func=infer,
        inputs=[Tensor(name="x", dtype=dtype, shape=tuple(shape))],
        outputs=[Tensor(name="y", dtype=np.float32, shape=tuple(made))],
        config=ModelConfig(batching=False),
    )


def main() -> None:
    """Serve on 127.0.0.1 until it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http, grpc, metrics = begin()
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http,
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        metrics_address="127.0.0.1",
        metrics_port=metrics,
    )
    models = Models()
    with Triton(config=config) as triton:
        for name in models:
            bind(triton, models, name)
        triton.serve()


if __name__ == "__main__":
    main()
