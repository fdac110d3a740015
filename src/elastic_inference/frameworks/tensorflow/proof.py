"""Whether a segment gives TensorFlow's results; nothing that was converted is trusted without.

One session runs the whole graph, and gives for each sample what goes into a segment and what has
to come out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.samples import Recipe, draw, recipes
from elastic_inference.protocol.tensorflow import reason_of
from elastic_inference.protocol.tensors import Array

_SAMPLES = 2
# Where what runs depends on the numbers, more of them show more of it.
_SAMPLES_OF_BRANCHES = 4
_BRANCHES = frozenset(["Case", "If", "Merge", "StatelessCase", "StatelessIf"])


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far results may differ: `relative` of each element, and of the largest `scale`."""

    relative: float = 0.0
    scale: float = 0.0


# By dtype; results of other dtypes must be equal.
TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float64": Tolerance(1e-6, 1e-9),
        "float32": Tolerance(1e-3, 1e-4),
        "float16": Tolerance(2e-2, 2e-3),
        "bfloat16": Tolerance(5e-2, 1e-2),
        "complex64": Tolerance(1e-3, 1e-4),
        "complex128": Tolerance(1e-6, 1e-9),
    }
)


class DifferenceError(Exception):
    """Results that are not TensorFlow's; the message says how."""


def compare(tensor: Tensor, expected: Any, found: Any) -> float:
    """The largest difference of two values of `tensor`.

    Raises:
        DifferenceError: they differ by more than they may.
    """
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape:
        raise DifferenceError(f"{tensor.name} has shape {found.shape}, not {expected.shape}")
    if tensor.dtype != "string" and expected.dtype != found.dtype:
        raise DifferenceError(f"{tensor.name} is {found.dtype}, not {expected.dtype}")
    tolerance = TOLERANCES.get(tensor.dtype)
    if tolerance is None:
        return _compare_equal(tensor, expected, found)
    exact = np.complex128 if tensor.dtype.startswith("complex") else np.float64
    one, other = expected.astype(exact), found.astype(exact)
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        raise DifferenceError(f"{tensor.name} differs where it is not finite")
    difference = np.abs(one[finite] - other[finite])
    if not difference.size:
        return 0.0
    size = np.abs(one[finite])
    allowed = tolerance.relative * size + tolerance.scale * max(float(size.max()), 1e-3)
    if not (difference <= allowed).all():
        raise DifferenceError(f"{tensor.name} differs by up to {difference.max():.3g}")
    return float(difference.max())


def _compare_equal(tensor: Tensor, expected: Array, found: Array) -> float:
    if tensor.dtype == "string":
        found = np.array([_bytes(each) for each in found.reshape(-1)], object).reshape(found.shape)
    different = int(np.count_nonzero(expected != found))
    if different:
        raise DifferenceError(f"{tensor.name} differs in {different} of {expected.size} elements")
    return 0.0


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class Truth:
    """A graph as TensorFlow runs it, with samples that it takes.

    Attributes:
        reason: why no sample makes it run, or "".
    """

    def __init__(self, tf: Any, graph: Graph) -> None:
        self._graph = graph
        self._errors = (tf.errors.OpError, ValueError, TypeError, KeyError, RuntimeError)
        self._session = tf.compat.v1.Session(graph=graph.tf_graph)
        branches = not _BRANCHES.isdisjoint(graph.operators(graph.nodes))
        self._count = _SAMPLES_OF_BRANCHES if branches else _SAMPLES
        self._samples: list[tuple[Recipe, dict[str, Array]]] = []
        self.reason = ""
        try:
            if graph.frozen.initializer:
                operation = graph.tf_graph.get_operation_by_name(graph.frozen.initializer)
                self._session.run(operation)
            self._find_samples()
        except self._errors as error:
            self.reason = reason_of(error)

    def close(self) -> None:
        self._session.close()

    def values(self, inputs: Sequence[str], outputs: Sequence[str]) -> list[dict[str, Array]]:
        """For each sample, values of the tensors that go into a part and come out of it.

        Where no sample makes the graph run from its start, what goes into the part is drawn.
        """
        if self._samples:
            return [self._run(feeds, (*inputs, *outputs)) for _, feeds in self._samples]
        found = []
        for recipe in recipes(self._graph):
            try:
                feeds = draw(self._graph, inputs, recipe)
                found.append(self._run(feeds, outputs))
            except self._errors:
                continue
            if len(found) == self._count:
                break
        return found

    def _find_samples(self) -> None:
        first: Exception | None = None
        for recipe in recipes(self._graph):
            try:
                feeds = draw(self._graph, self._graph.fed, recipe)
                self._run(feeds, self._graph.results)
            except self._errors as error:
                first = first or error
                continue
            self._samples.append((recipe, feeds))
            if len(self._samples) == self._count:
                return
        if not self._samples and first is not None:
            self.reason = reason_of(first)

    def _run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> dict[str, Array]:
        wanted = [name for name in dict.fromkeys(fetches) if name not in feeds]
        values = self._session.run(wanted, dict(feeds)) if wanted else []
        return {**feeds, **{n: np.asarray(v) for n, v in zip(wanted, values, strict=True)}}
