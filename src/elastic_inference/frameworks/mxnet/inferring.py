"""Shapes and dtypes as symbols' users ask for them and get them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.arrays import dtype_of
from elastic_inference.frameworks.mxnet.errors import MXNetError, mxnet_error, type_error
from elastic_inference.frameworks.mxnet.graph import Graph, Node
from elastic_inference.frameworks.mxnet.infer import Inferred, infer_shapes, infer_types
from elastic_inference.frameworks.mxnet.onnx_operator import IMPORTED
from elastic_inference.frameworks.mxnet.rules import Shape, is_known

Described = tuple[Shape, np.dtype[Any]]
Output = tuple[Shape | None, np.dtype[Any]]
_SOURCE = "src/executor/infer_graph_attr_pass.cc:1"


def shapes(
    graph: Graph, given: Sequence[Any], keywords: Mapping[str, Any], *, partial: bool
) -> tuple[list[Shape] | None, list[Shape] | None, list[Shape] | None]:
    """Of arguments, outputs and auxiliary states; see `Symbol.infer_shape`."""
    known = {
        name: tuple(np.atleast_1d(shape).tolist()) if len(np.shape(shape)) or shape else ()
        for name, shape in _by_name(graph, given, keywords, "InferShape").items()
    }
    inferred = infer_shapes(graph, known)
    arguments, states = graph.arguments(), graph.auxiliary_states()
    complete = all(is_known(inferred.of((node, 0))) for node in (*arguments, *states)) and all(
        is_known(inferred.of(head)) for head in graph.heads
    )
    if not complete and not partial:
        _warn(inferred, arguments)
        return None, None, None
    return (
        [inferred.of((node, 0)) or () for node in arguments],
        [inferred.of(head) or () for head in graph.heads],
        [inferred.of((node, 0)) or () for node in states],
    )


def _warn(inferred: Inferred[Shape], arguments: Sequence[Node]) -> None:
    unknown = [
        f"\n\t{node.name}: {inferred.of((node, 0)) or ()}"
        for node in arguments
        if not is_known(inferred.of((node, 0)))
    ]
    warnings.warn(
        "Cannot decide shape for the following arguments (0s in shape means unknown dimensions). "
        f"Consider providing them as input:{''.join(unknown)}",
        stacklevel=4,
    )


def types(
    graph: Graph, given: Sequence[Any], keywords: Mapping[str, Any], *, partial: bool
) -> tuple[list[Any] | None, list[Any] | None, list[Any] | None]:
    """As `shapes`, numpy's classes of dtypes."""
    named = _by_name(graph, given, keywords, "InferType")
    known = {name: dtype_of(dtype) for name, dtype in named.items()}
    inferred = infer_types(graph, known, None if partial or not known else np.float32)

    def kinds(entries: Sequence[Any]) -> list[Any]:
        found = [inferred.of(entry) for entry in entries]
        return [None if each is None else each.type for each in found]

    found = (
        kinds([(node, 0) for node in graph.arguments()]),
        kinds(graph.heads),
        kinds([(node, 0) for node in graph.auxiliary_states()]),
    )
    if not partial and any(each is None for part in found for each in part):
        return None, None, None
    return found


def _by_name(
    graph: Graph, given: Sequence[Any], keywords: Mapping[str, Any], what: str
) -> dict[str, Any]:
    names = [node.name for node in graph.arguments()]
    if given and keywords:
        raise type_error("Can only specify known argument either by positional or kwargs way.")
    states = {node.name for node in graph.auxiliary_states()}
    for name in keywords:
        if name not in names and name not in states:
            listed = "".join(f"\n\t[{at}]{each}" for at, each in enumerate(names))
            raise mxnet_error(
                "src/c_api/c_api_symbolic.cc:517",
                f"{what}Keyword argument name {name} not found.\nCandidate arguments:{listed}",
            )
    found = dict(zip(names, given, strict=False)) | dict(keywords)
    return {name: each for name, each in found.items() if each is not None}


def outputs(graph: Graph, known: Mapping[str, Shape], kinds: Mapping[str, Any]) -> list[Output]:
    """Shape and dtype of each output, where all variables are known. An imported model may have
    outputs whose shapes only its computation tells: None.

    Raises:
        MXNetError: shapes contradict each other.
    """
    inferred, dtypes = infer_shapes(graph, known), infer_types(graph, kinds)
    found: list[Output] = []
    for name, head in zip(graph.output_names(), graph.heads, strict=True):
        shape, dtype = inferred.of(head), dtypes.of(head)
        if head[0].operator == IMPORTED and not is_known(shape):
            shape = None
        elif shape is None or not is_known(shape) or dtype is None:
            raise mxnet_error(_SOURCE, f"The shape of {name} cannot be inferred.")
        found.append((shape, np.dtype(np.float32 if dtype is None else dtype)))
    return found


def variables(
    graph: Graph, known: Mapping[str, Shape], kinds: Mapping[str, Any]
) -> dict[str, Described]:
    """Shape and dtype of each variable, from those of some, as `simple_bind` needs them.

    Raises:
        MXNetError: they contradict each other, or are not enough.
    """
    listed = "".join(f"{name}: {shape}\n" for name, shape in known.items())
    try:
        inferred = infer_shapes(graph, known)
        dtypes = infer_types(graph, {name: dtype_of(kind) for name, kind in kinds.items()})
    except MXNetError as error:
        raise MXNetError(f"simple_bind error. Arguments:\n{listed}{error.message}") from error
    found = {}
    unknown = []
    for node in graph.variables():
        shape, dtype = inferred.of((node, 0)), dtypes.of((node, 0))
        if shape is None or not is_known(shape) or dtype is None:
            unknown.append(f"{node.name}: {shape or ()}")
        else:
            found[node.name] = (shape, dtype)
    if unknown:
        raise mxnet_error(
            _SOURCE,
            f"simple_bind error. Arguments:\n{listed}"
            f"The shapes of these arguments cannot be inferred: {', '.join(unknown)}",
        )
    return found
