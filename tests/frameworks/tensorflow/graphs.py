"""Small frozen graphs for the tests of partitioning, and running their parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.frozen import Frozen
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.partition import Part, divide
from elastic_inference.frameworks.tensorflow.placement import place
from elastic_inference.frameworks.tensorflow.segments import extract
from elastic_inference.frameworks.tensorflow.units import Units

# Converts, as far as these tests are concerned.
CONVERTS = frozenset(
    [
        "Add", "AddV2", "ArgMax", "Cast", "ConcatV2", "Const", "Identity", "MatMul", "Mul", "Neg",
        "NoOp", "Relu", "Reshape", "Sub", "Sum", "Tanh",
    ]
)  # fmt: skip


def frozen(build: Callable[[Any, Any], tuple[dict[str, Any], dict[str, Any]]]) -> Frozen:
    """What `build(v1, tf)` makes: it gives tensors that go in and come out, by key."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        inputs, outputs = build(tf.compat.v1, tf)
    return Frozen(
        graph.as_graph_def(add_shapes=True),
        {key: each.name for key, each in inputs.items()},
        {key: each.name for key, each in outputs.items()},
    )


def divided(given: Frozen) -> tuple[Graph, list[Part]]:
    """The graph and its parts."""
    import tensorflow as tf

    graph = Graph(tf, given)
    placed = place(graph, CONVERTS)
    return graph, divide(graph, Units(graph, placed), placed)


def run_whole(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The graph's results, by tensor."""
    import tensorflow as tf

    with tf.compat.v1.Session(graph=graph.tf_graph) as session:
        values = session.run(list(graph.results), dict(feeds))
    return dict(zip(graph.results, map(np.asarray, values), strict=True))


def run_parts(graph: Graph, parts: list[Part], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The same, each part's graph in a session of its own."""
    import tensorflow as tf

    v1 = tf.compat.v1
    values = dict(feeds)
    for part in parts:
        alone = extract(graph, part)
        with tf.Graph().as_default(), v1.Session() as session:
            v1.import_graph_def(alone.definition, name="")
            taken = {each.port: values[each.name] for each in alone.inputs}
            made = session.run([each.port for each in alone.outputs], taken)
        names = [each.name for each in alone.outputs]
        values.update(zip(names, map(np.asarray, made), strict=True))
    return {name: values[name] for name in graph.results}
