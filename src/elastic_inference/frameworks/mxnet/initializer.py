"""First values for weights: for runs in which the values do not matter, as of benchmarks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import random
from elastic_inference.frameworks.mxnet.ndarray import NDArray

_ZERO = ("bias", "beta", "moving_mean", "running_mean", "moving_inv_var", "moving_avg", "label")
_ONE = ("gamma", "moving_var", "running_var")


class Initializer:
    """Fills an array by its name: biases with 0, scales with 1, others as the class says."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def dumps(self) -> str:
        return json.dumps([type(self).__name__.lower(), self._settings])

    def __call__(self, desc: str, arr: NDArray) -> None:
        if desc.endswith(_ZERO):
            arr[:] = 0
        elif desc.endswith(_ONE):
            arr[:] = 1
        else:
            self.fill(arr)

    def fill(self, arr: NDArray) -> None:
        arr[:] = 0


class Zero(Initializer):
    """Fills with 0."""


class One(Initializer):
    """Fills with 1."""

    def fill(self, arr: NDArray) -> None:
        arr[:] = 1


class Constant(Initializer):
    """Fills with one value."""

    def __init__(self, value: float) -> None:
        super().__init__(value=value)
        self.value = value

    def fill(self, arr: NDArray) -> None:
        arr[:] = self.value


class Uniform(Initializer):
    """Draws from -scale to scale."""

    def __init__(self, scale: float = 0.07) -> None:
        super().__init__(scale=scale)
        self.scale = scale

    def fill(self, arr: NDArray) -> None:
        random.uniform(-self.scale, self.scale, dtype=arr.dtype, out=arr)


class Normal(Initializer):
    """Draws from a normal distribution."""

    def __init__(self, sigma: float = 0.01) -> None:
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def fill(self, arr: NDArray) -> None:
        random.normal(0, self.sigma, dtype=arr.dtype, out=arr)


class Xavier(Initializer):
    """Draws so that a layer keeps the size of what goes through it."""

    def __init__(
        self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3
    ) -> None:
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type = rnd_type
        self.factor_type = factor_type
        self.magnitude = magnitude

    def fill(self, arr: NDArray) -> None:
        around = float(np.prod(arr.shape[2:], dtype=np.float64))
        fan_in = (arr.shape[1] if arr.ndim > 1 else 1) * around
        fan_out = arr.shape[0] * around
        factor = {"avg": (fan_in + fan_out) / 2, "in": fan_in, "out": fan_out}[self.factor_type]
        scale = float(np.sqrt(self.magnitude / factor))
        if self.rnd_type == "uniform":
            random.uniform(-scale, scale, dtype=arr.dtype, out=arr)
        else:
            random.normal(0, scale, dtype=arr.dtype, out=arr)


class MSRAPrelu(Xavier):
    """Draws as is usual before rectifiers."""

    def __init__(self, factor_type: str = "avg", slope: float = 0.25) -> None:
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope**2))


def create(initializer: Any) -> Initializer:
    """An initializer, by its name if it is given by that."""
    if not isinstance(initializer, str):
        made: Initializer = initializer
        return made
    known = {
        each.__name__.lower(): each for each in (Zero, One, Uniform, Normal, Xavier, MSRAPrelu)
    }
    known |= {"zeros": Zero, "ones": One}
    return known[initializer.lower()]()
