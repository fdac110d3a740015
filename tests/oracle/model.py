"""A network, and what MXNet and the translator make of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import symbol_json
from elastic_inference.frameworks.mxnet.infer import infer_shapes
from elastic_inference.frameworks.mxnet.translate import translate
from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.running import Loaded
from tests.frameworks.mxnet.translate.cases import Draw
from tests.frameworks.mxnet.translate.fixtures import feeds_of
from tests.frameworks.mxnet.translate.weights import draw
from tests.oracle.mxnet import mx

# Values that differ by less of the largest one may be in either order.
_TIE = 1e-4


@dataclass(frozen=True, slots=True)
class Model:
    """A network with random weights.

    Attributes:
        gain: see `weights.draw`.
        small: it is small and quick enough for the fixtures.
        constants: those of its weights that are not drawn.
        ranked: the output whose values, best first, order the rows of all outputs. The order of
            rows whose values are equal but for rounding is left open.
    """

    name: str
    symbol: Any
    inputs: Mapping[str, Draw]
    gain: float = 1.0
    small: bool = True
    constants: Mapping[str, Array] = field(default_factory=dict)
    ranked: int | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of it.

    Attributes:
        error: the largest difference of any output, relative to its largest value.
        segments: into how many it was cut.
        seconds: the translation took.
    """

    error: float
    segments: int
    seconds: float
    expected: list[Array]


def compare(model: Model) -> Compared:
    """Run a model with MXNet, and translated.

    Raises:
        AssertionError: names or shapes are not MXNet's.
    """
    symbol = model.symbol
    feeds = feeds_of(model.inputs)
    shapes = {name: each.shape for name, each in feeds.items()}
    arguments, _, states = symbol.infer_shape(**shapes)
    names, state_names = symbol.list_arguments(), symbol.list_auxiliary_states()
    wanted = dict(zip([*names, *state_names], [*arguments, *states], strict=True))
    weights = draw({name: each for name, each in wanted.items() if name not in feeds}, model.gain)
    weights |= model.constants
    expected = _run(symbol, {**feeds, **weights}, names, state_names)
    graph = symbol_json.loads(symbol.tojson()).graph
    assert [node.name for node in graph.arguments()] == names
    assert [node.name for node in graph.auxiliary_states()] == state_names
    assert graph.output_names() == symbol.list_outputs()
    inferred = infer_shapes(graph, shapes)
    found = {node.name: inferred.of((node, 0)) for node in graph.variables()}
    assert found == wanted
    began = time.perf_counter()
    translation = translate(
        graph, weights, {name: (each.shape, each.dtype) for name, each in feeds.items()}
    )
    seconds = time.perf_counter() - began
    mine = Loaded(translation).run(feeds)
    assert [each.shape for each in mine] == [each.shape for each in expected]
    assert [each.dtype for each in mine] == [each.dtype for each in expected]
    if model.ranked is not None:
        mine = _in_order_of(expected, mine, model.ranked)
    errors = [_difference(a, b) for a, b in zip(mine, expected, strict=True)]
    return Compared(max(errors), len(translation.segments), seconds, expected)


def _run(
    symbol: Any, arrays: Mapping[str, Array], names: list[str], state_names: list[str]
) -> list[Array]:
    def held(wanted: list[str]) -> dict[str, Any]:
        return {name: mx.nd.array(arrays[name], dtype=arrays[name].dtype) for name in wanted}

    executor = symbol.bind(mx.cpu(), held(names), aux_states=held(state_names), grad_req="null")
    return [each.asnumpy() for each in executor.forward(is_train=False)]


def _in_order_of(theirs: list[Array], mine: list[Array], ranked: int) -> list[Array]:
    """Our rows, where MXNet has those that they resemble most among rows of equal rank."""
    scales = [max(float(np.abs(each).max(initial=0)), 1e-30) for each in theirs]
    tables = [
        np.concatenate(
            [rows[0].reshape(rows.shape[1], -1) / scale
             for rows, scale in zip(side, scales, strict=True)], 1,
        )
        for side in (theirs, mine)
    ]  # fmt: skip
    ranks = theirs[ranked][0].reshape(-1)
    ends = np.flatnonzero(np.abs(np.diff(ranks)) > _TIE * scales[ranked]) + 1
    order: list[int] = []
    for run in np.split(np.arange(len(ranks)), ends):
        left = list(run)
        for row in run:
            distances = np.abs(tables[1][left] - tables[0][row]).max(1)
            order.append(left.pop(int(distances.argmin())))
    return [each[:, order] for each in mine]


def _difference(mine: Array, theirs: Array) -> float:
    scale = max(float(np.abs(theirs).max(initial=0)), 1e-30)
    return float(np.abs(mine.astype(np.float64) - theirs).max(initial=0)) / scale
