"""The operator that an imported ONNX model is in a symbol."""

from __future__ import annotations

from functools import lru_cache

from elastic_inference.frameworks.mxnet.attributes import Attributes, declare, text
from elastic_inference.frameworks.mxnet.onnx_file import OnnxGraph, Port
from elastic_inference.frameworks.mxnet.rules import Shapes, Types
from elastic_inference.frameworks.mxnet.table import Operator, enter

IMPORTED = "_elastic_inference_onnx"


@lru_cache(maxsize=64)
def graph_of(model: str) -> OnnxGraph:
    """The model that an attribute holds."""
    return OnnxGraph.from_text(model)


def _ports(values: Attributes) -> tuple[Port, ...]:
    found = graph_of(values.model)
    return *found.inputs, *found.weights


def _shapes(s: Shapes) -> None:
    for index, port in enumerate(_ports(s.a)):
        s.expect(index, port.shape)
    for index, port in enumerate(graph_of(s.a.model).outputs):
        if port.shape is not None and all(port.shape):
            s.give(port.shape, index)


def _types(t: Types) -> None:
    for index, port in enumerate(_ports(t.a)):
        t.expect(index, port.dtype)
    for index, port in enumerate(graph_of(t.a.model).outputs):
        t.give(port.dtype, index)


enter(
    Operator(
        name=IMPORTED,
        inputs=lambda values: tuple(port.name for port in _ports(values)),
        parameters=declare(model=text()),
        shapes=_shapes,
        types=_types,
        outputs=lambda values: len(graph_of(values.model).outputs),
    )
)
