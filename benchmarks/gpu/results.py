"""That an accelerator on the device chooses its provider by itself and computes what a CPU does."""

from __future__ import annotations

import numpy as np

from benchmarks.client import open_accelerator
from benchmarks.gpu.models import NAMES, PRECISIONS, SIZES, save
from benchmarks.gpu.plan import Plan
from benchmarks.report import Table
from benchmarks.target import Target

# TF32 rounds products to 10 bits of mantissa, fp16 to the same; deep networks add that up.
_TOLERANCE = {"fp32": 2e-2, "fp16": 5e-2}


def measure(plan: Plan, target: Target) -> list[Table]:
    """The largest difference to ONNX Runtime's CPU provider in this process, in fp32.

    Raises:
        RuntimeError: another provider than the device's was chosen, or the results differ.
    """
    import onnxruntime

    rows = []
    accelerator = open_accelerator(target.grant("tls"))
    try:
        for name in NAMES:
            local = onnxruntime.InferenceSession(
                save(plan.directory, name, "fp32"), providers=["CPUExecutionProvider"]
            )
            x = np.random.default_rng(1).standard_normal((2, *SIZES[name]), np.float32)
            (expected,) = local.run(["y"], {"x": x})
            for precision, dtype in PRECISIONS.items():
                with accelerator.load(save(plan.directory, name, precision)) as model:
                    if model.providers[0] != plan.provider:
                        raise RuntimeError(f"{model.providers} run it, not {plan.provider}")
                    (y,) = model.run({"x": x.astype(dtype)}, ["y"])
                difference = float(np.abs(np.asarray(y, np.float32) - expected).max())
                scale = float(np.abs(expected).max())
                if not difference <= _TOLERANCE[precision] * scale:
                    raise RuntimeError(f"{name} {precision}: off by {difference} of {scale}")
                rows.append((name, precision, plan.provider, difference, scale, difference / scale))
    finally:
        accelerator.close()
    return [
        Table(
            "Results against ONNX Runtime on the CPU in fp32",
            ("model", "precision", "provider", "largest difference", "largest value", "relative"),
            rows,
            f"Tolerance, relative: {_TOLERANCE['fp32']:g} for fp32 (the provider may use TF32), "
            f"{_TOLERANCE['fp16']:g} for fp16.",
        )
    ]
