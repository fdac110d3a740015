"""Models that take feeds of other ranks than they declare.

TensorFlow Serving does not hold a feed against the shape of its placeholder. Where a graph computes
each element by itself, its ONNX model need not either; shapes stay wherever they could help.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.convert import ConversionError, convert, prove, write
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.partition import Part
from elastic_inference.frameworks.tensorflow.samples import Recipe, value_for
from elastic_inference.frameworks.tensorflow.segments import Extract, extract
from elastic_inference.protocol.tensors import Array

_MOST_NODES = 64
_RANKS = (1, 2, 3)
# fmt: off
_ELEMENTWISE = frozenset(
    [
        "Abs", "Add", "AddN", "AddV2", "Cast", "Ceil", "Const", "Cos", "Div", "Exp", "Floor",
        "Identity", "IdentityN", "Log", "Maximum", "Minimum", "Mul", "Neg", "NoOp", "Pow",
        "RealDiv", "Relu", "Relu6", "Rsqrt", "Sigmoid", "Sign", "Sin", "Sqrt", "Square", "Sub",
        "Tanh",
    ]
)
# fmt: on


def forget_shapes(tf: Any, graph: Graph, part: Part, path: Path) -> bool:
    """Whether feeds of any rank give TensorFlow's results; the model at `path` takes them then.

    Args:
        part: the whole graph, whose ONNX model lies at `path`.
    """
    operators = {graph.nodes[name].op for name in part.nodes}
    texts = any(graph.dtype(name) == "string" for name in part.inputs)
    if not part.inputs or texts or len(part.nodes) > _MOST_NODES or operators - _ELEMENTWISE:
        return False
    alone = extract(graph, part, ranked=False)
    trial = path.with_suffix(".any")
    try:
        samples = list(_samples(tf, graph, alone))
        write(convert(alone, ranked=False), trial)
        prove(trial, alone, samples)
    except (ConversionError, tf.errors.OpError, ValueError):
        trial.unlink(missing_ok=True)
        return False
    trial.replace(path)
    return True


def _samples(tf: Any, graph: Graph, alone: Extract) -> Iterator[dict[str, Array]]:
    """Feeds of several ranks, with what TensorFlow makes of them."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.import_graph_def(alone.definition, name="")
        for rank in _RANKS:
            recipe = Recipe(seed=rank)
            feeds = {
                each.name: value_for(graph, each.name, each.dtype, (3,) * rank, recipe)
                for each in alone.inputs
            }
            ports = {each.port: feeds[each.name] for each in alone.inputs}
            results = session.run([each.port for each in alone.outputs], ports)
            found = zip(alone.outputs, results, strict=True)
            yield {**feeds, **{each.name: np.asarray(value) for each, value in found}}
