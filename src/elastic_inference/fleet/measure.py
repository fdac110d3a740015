"""`python -m elastic_inference.fleet.measure DEVICE`: prints the FP32 TFLOPS of a matrix product.

A process of its own: what a GPU's libraries take is given back, and a driver that crashes takes
nothing with it.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import onnxruntime as ort

from elastic_inference.accelerator.devices import providers_for
from elastic_inference.accelerator.onnxfile import square_model

# Long enough for the clocks to rise, and far below a second.
_SECONDS = 0.25
# Rows of the square: what fills a processor's caches and what fills a GPU.
_SIZES = {"cpu": 512, "cuda": 4096}


def measure(device: str, seconds: float = _SECONDS) -> float:
    """The FP32 TFLOPS of `device` (`cpu` or `cuda:N`) in the fastest of several products."""
    kind = device.partition(":")[0]
    size = _SIZES[kind]
    providers = [
        (name, {**options, "use_tf32": "0"} if name == "CUDAExecutionProvider" else options)
        for name, options in providers_for(device, 0, ort.get_available_providers(), tensorrt=False)
    ]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(square_model(size), options, providers=providers)
    if kind not in session.get_providers()[0].lower():
        raise RuntimeError(f"{device} is not used")
    binding = session.io_binding()
    value = np.random.default_rng(0).random((size, size), np.float32)
    place = (kind, int(device.partition(":")[2] or 0))
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(value, *place))
    binding.bind_output("y", *place)
    fastest = float("inf")
    # The first prepares, whatever it takes.
    session.run_with_iobinding(binding)
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        session.run_with_iobinding(binding)
        fastest = min(fastest, time.perf_counter() - began)
    return float(2 * size**3 / fastest / 1e12)


if __name__ == "__main__":
    print(f"{measure(sys.argv[1]):.4g}")  # noqa: T201 - that is what it is for
