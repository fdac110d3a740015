"""Operators applied to arrays at once: `mx.nd.softmax(x)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import arguments, arrays, everyday, planning, table
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.errors import MXNetError, mxnet_error, type_error
from elastic_inference.frameworks.mxnet.graph import VARIABLE, Graph, Node
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.frameworks.mxnet.table import Operator
from elastic_inference.protocol.tensors import Array

_MOST_MODELS = 256


def is_method(name: str) -> bool:
    """Whether arrays have the operator `name` as a method."""
    return table.find(name) is not None


def call(name: str, /, *given: Any, **keywords: Any) -> Any:
    """The results of an operator: an array, or a list where there are several.

    Raises:
        MXNetError, TypeError: the operator is unknown or does not take this.
    """
    operator = table.find(name)
    if operator is None:
        raise mxnet_error("nnvm", f"Operator {name} is not known.")
    for each in ("name", "attr"):
        keywords.pop(each, None)
    out = keywords.pop("out", None)
    context = keywords.pop("ctx", None)
    arrays.check_place(_context(context) or current_context(), operator.name)
    numbers = (NDArray, np.ndarray)
    sorted_out = arguments.sort(operator, given, keywords, numbers)
    missing = [each for each in sorted_out.names if each not in sorted_out.inputs]
    if missing:
        raise type_error(f"{operator.name}() missing the input {missing[0]!r}")
    inputs = [_plain(sorted_out.inputs[each]) for each in sorted_out.names]
    results = _run(operator, sorted_out.attributes, inputs)
    made = [wrap(each) for each in results[: operator.visible(sorted_out.values)]]
    return _placed(made, out)


def _placed(made: list[NDArray], out: Any) -> Any:
    if out is not None:
        targets = out if isinstance(out, list | tuple) else [out]
        for target, each in zip(targets, made, strict=False):
            target[:] = each
        return out
    return made[0] if len(made) == 1 else made


def _context(given: Any) -> Context | None:
    if isinstance(given, str):
        return Context(given.partition("(")[0])
    found: Context | None = given
    return found


def _plain(value: Any) -> Array:
    return value.array if isinstance(value, NDArray) else np.asarray(value)


def _run(operator: Operator, attributes: Mapping[str, str], inputs: Sequence[Array]) -> list[Any]:
    function = everyday.FUNCTIONS.get(operator.name) or operator.numpy
    if function is not None:
        made = function(operator.parse(attributes), *inputs)
        return list(made) if isinstance(made, tuple) else [made]
    described = tuple((each.shape, each.dtype.str) for each in inputs)
    model, names = _model(operator.name, tuple(sorted(attributes.items())), described)
    return list(model.run(dict(zip(names, inputs, strict=True))))


@lru_cache(maxsize=_MOST_MODELS)
def _model(
    name: str,
    attributes: tuple[tuple[str, str], ...],
    described: tuple[tuple[tuple[int, ...], str], ...],
) -> tuple[Any, list[str]]:
    """A model of the one operator for inputs of these shapes, and the names of its inputs."""
    from elastic_inference.frameworks.mxnet.running import Model  # noqa: PLC0415 - runs models

    names = [f"input{index}" for index in range(len(described))]
    node = Node(name, name.lower(), dict(attributes))
    node.inputs = [(Node(VARIABLE, each), 0) for each in names]
    operator = table.of_node(node)
    heads = [(node, index) for index in range(operator.visible(table.parsed(node)))]
    shapes = {each: (shape, np.dtype(kind)) for each, (shape, kind) in
              zip(names, described, strict=True)}  # fmt: skip
    try:
        made = planning.plan(Graph(heads), {}, shapes)
    except MXNetError as error:
        raise MXNetError(error.message) from None
    model = Model(made, None)
    return model, list(model.inputs)
