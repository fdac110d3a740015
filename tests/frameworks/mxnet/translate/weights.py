"""Weights of a graph, drawn so that a seed stands for all of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from elastic_inference.protocol.tensors import Array


def draw(shapes: Mapping[str, Sequence[int]], gain: float = 1.0) -> dict[str, Array]:
    """An array for each name; the same for the same name and shape, on every version of numpy.

    Args:
        gain: how much layers enlarge what they get, about.
    """
    return {name: _array(name, tuple(shape), gain) for name, shape in shapes.items()}


def _array(name: str, shape: tuple[int, ...], gain: float) -> Array:
    # Only this generator promises the same numbers for ever.
    chance = np.random.RandomState(zlib.crc32(name.encode()))
    numbers = chance.random_sample(math.prod(shape)).astype(np.float32).reshape(shape)
    if name.endswith(("gamma", "var")):
        return numbers + np.float32(0.5)
    centred = 2 * numbers - 1
    if len(shape) < 2:
        return centred * np.float32(0.1)
    fan = math.prod(shape[1:])
    return centred * np.float32(gain * math.sqrt(3 / fan))
