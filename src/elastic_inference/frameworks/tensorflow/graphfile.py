"""Frozen graphs from a file: a GraphDef, binary or as text."""

from __future__ import annotations

from typing import Any

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.tensorflow.frozen import Frozen, inline, tensors_named
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.protocol.tensorflow import node_of, reason_of

_TEXT = {".pbtxt", ".prototxt", ".txt"}
_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_NO_RESULTS = {"NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault"}
_FILLS_TABLE = ("InitializeTable", "LookupTableImport")
_INITIALIZER = "elastic_inference/fill_tables"


def load_file(tf: Any, source: Source) -> Frozen:
    """The graph in the file of `source`; names that it does not give are found in the graph.

    Raises:
        ModelFormatError: it is no GraphDef, or one with variables.
        NotFoundError: a name is not in the graph.
    """
    definition = _parse(tf, source)
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.compat.v1.import_graph_def(definition, name="")
    except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"TensorFlow cannot load the graph in {source.path}: {reason_of(error)}"
        ) from error
    variable = next((node.name for node in definition.node if node.op in _VARIABLES), "")
    if variable:
        raise ModelFormatError(
            f"The graph in {source.path} is not frozen: {variable} is a variable without a value.",
            next_step="Freeze it with its checkpoint, or give a SavedModel.",
        )
    initializer = _add_initializer(definition)
    frozen = Frozen(
        graph.as_graph_def(add_shapes=True),
        tensors_named(graph, source.inputs or _inputs(graph)),
        tensors_named(graph, source.outputs or _outputs(graph)),
        initializer=initializer,
    )
    if initializer:
        frozen.definition.node.append(definition.node[-1])
    return inline(tf, frozen)


def _parse(tf: Any, source: Source) -> Any:
    from google.protobuf import message, text_format  # noqa: PLC0415 - with TensorFlow

    definition = tf.compat.v1.GraphDef()
    try:
        data = source.path.read_bytes()
        if source.path.suffix in _TEXT:
            text_format.Parse(data.decode(), definition)
        else:
            definition.ParseFromString(data)
    except OSError as error:
        raise ModelFormatError(f"{source.path} cannot be read: {error.strerror}.") from error
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelFormatError(f"{source.path} holds no GraphDef: {reason}") from error
    if not definition.node:
        raise ModelFormatError(f"{source.path} holds no GraphDef with nodes.")
    return definition


def _inputs(graph: Any) -> dict[str, str]:
    return {
        operation.name: f"{operation.name}:0"
        for operation in graph.get_operations()
        if operation.type == "Placeholder"
    }


def _outputs(graph: Any) -> dict[str, str]:
    """What nothing in the graph uses."""
    found = {}
    for operation in graph.get_operations():
        used = any(tensor.consumers() for tensor in operation.outputs)
        if operation.outputs and not used and operation.type not in _NO_RESULTS:
            for tensor in operation.outputs:
                key = operation.name if len(operation.outputs) == 1 else tensor.name
                found[key] = tensor.name
    return found


def _add_initializer(definition: Any) -> str:
    """A node that fills all tables of the graph; "" if it has none to fill."""
    fills = [node.name for node in definition.node if node.op.startswith(_FILLS_TABLE)]
    if not fills:
        return ""
    definition.node.add(name=_INITIALIZER, op="NoOp", input=[f"^{node_of(name)}" for name in fills])
    return _INITIALIZER
