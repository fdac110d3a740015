"""A frozen graph, and what is done to graphs on the way there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elastic_inference.errors import NotFoundError
from elastic_inference.protocol.tensorflow import node_of

# Of functional control flow, which an inliner otherwise makes switches and merges.
_LOWERED = "_lower_using_switch_merge"
# tf2onnx converts these right as switches and merges alone.
_BRANCHES = frozenset(["Case", "If", "StatelessCase", "StatelessIf"])
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Frozen:
    """A graph whose weights are in it.

    Attributes:
        definition: the GraphDef.
        inputs, outputs: tensor names by key.
        method: the signature's method name, or "".
        initializer: operation to run once before anything else, or "".
        assets: file by node that gives its name.
    """

    definition: Any
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    method: str = ""
    initializer: str = ""
    assets: Mapping[str, str] = field(default_factory=dict)

    @property
    def ends(self) -> list[str]:
        """Nodes that must not go: those of the interface, the initializer and the assets."""
        names = [node_of(name) for name in (*self.outputs.values(), *self.inputs.values())]
        if self.initializer:
            names.append(self.initializer)
        return list(dict.fromkeys(names))

    def with_definition(self, definition: Any) -> Frozen:
        """The same with another graph."""
        return replace(self, definition=definition)


def tensor_name(name: str) -> str:
    """The whole name of a tensor, whose `:0` may be left out."""
    return name if ":" in name else f"{name}:0"


def tensors_named(graph: Any, names: Mapping[str, str]) -> dict[str, str]:
    """The same names in whole.

    Raises:
        NotFoundError: the graph has no tensor of that name.
    """
    whole = {key: tensor_name(name) for key, name in names.items()}
    for key, name in whole.items():
        try:
            graph.get_tensor_by_name(name)
        except (KeyError, ValueError):
            raise NotFoundError(
                f"The graph has no tensor {name!r}, which is to be {key!r}.",
                next_step=f"Its placeholders are: {placeholders(graph)}.",
            ) from None
    return whole


def placeholders(graph: Any) -> str:
    """Names of what can be fed, for a message."""
    found = [
        operation.name + ":0"
        for operation in graph.get_operations()
        if operation.type.startswith("Placeholder")
    ]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return (", ".join(found[:_MOST_SHOWN]) or "none") + more


def inline(tf: Any, frozen: Frozen) -> Frozen:
    """The graph with its functions inlined; as it is where that cannot be done."""
    from tensorflow.core.protobuf import meta_graph_pb2  # noqa: PLC0415 - with TensorFlow
    from tensorflow.python.grappler import tf_optimizer  # noqa: PLC0415 - the same

    v1 = tf.compat.v1
    if not frozen.definition.library.function:
        return frozen
    graph = tf.Graph()
    with graph.as_default():
        v1.import_graph_def(_with_loops(frozen.definition), name="")
        meta = v1.train.export_meta_graph(graph=graph, clear_devices=True)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend([*frozen.ends, *_present(frozen)])
    meta.collection_def["train_op"].CopyFrom(kept)
    config = v1.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.min_graph_nodes = -1
    rewrite.meta_optimizer_iterations = 1
    rewrite.optimizers.append("function")
    rewrite.function_optimization = rewrite.AGGRESSIVE
    try:
        return frozen.with_definition(tf_optimizer.OptimizeGraph(config, meta))
    except (tf.errors.OpError, ValueError, RuntimeError):
        return frozen


def _with_loops(definition: Any) -> Any:
    """The graph, told to keep its loops as operators of functions.

    Shapes that were noted before its variables became constants may not fit any more.
    """
    kept = type(definition)()
    kept.CopyFrom(definition)
    functions = (node for function in kept.library.function for node in function.node_def)
    for node in (*kept.node, *functions):
        node.attr.pop("_output_shapes", None)
        if _LOWERED in node.attr and node.op not in _BRANCHES:
            node.attr[_LOWERED].b = False
    return kept


def _present(frozen: Frozen) -> list[str]:
    names = {node.name for node in frozen.definition.node}
    return [name for name in frozen.assets if name in names]
