"""Which placeholders of a graph have a default, read without TensorFlow.

Messages: tensorflow/core/framework/graph.proto, node_def.proto.
"""

from __future__ import annotations

from pathlib import Path

from elastic_inference.errors import InvalidRequestError, ModelFormatError
from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL
from elastic_inference.protocol.wireformat import BYTES, Span, fields

# SavedModel.meta_graphs, MetaGraphDef.graph_def, GraphDef.node, NodeDef.name and .op.
_META_GRAPHS, _GRAPH, _NODE, _NAME, _OP = 2, 2, 1, 1, 2
_WITH_DEFAULT = b"PlaceholderWithDefault"


def with_default(path: Path) -> frozenset[str]:
    """Names of the tensors that need not be fed, in any meta graph of the model.

    Args:
        path: of a SavedModel's folder or a frozen graph; what cannot be read has none.
    """
    try:
        if path.is_file():
            data = path.read_bytes()
            graphs = [(0, len(data))]
        else:
            data = (path / SAVED_MODEL).read_bytes()
            whole = (0, len(data))
            metas = _inner(data, whole, _META_GRAPHS)
            graphs = [graph for meta in metas for graph in _inner(data, meta, _GRAPH)]
        return frozenset(
            f"{name}:0"
            for graph in graphs
            for node in _inner(data, graph, _NODE)
            if (name := _name_with_default(data, node))
        )
    except (OSError, InvalidRequestError, UnicodeDecodeError):
        return frozenset()


def _refuse(why: str) -> ModelFormatError:
    return ModelFormatError(f"The graph is damaged: {why}.")


def _inner(data: bytes, span: Span, wanted: int) -> list[Span]:
    return [
        body
        for number, wire, body in fields(data, span, _refuse)
        if number == wanted and wire == BYTES
    ]


def _name_with_default(data: bytes, node: Span) -> str:
    name = op = b""
    for number, wire, (begin, end) in fields(data, node, _refuse):
        if wire == BYTES and number == _NAME:
            name = data[begin:end]
        elif wire == BYTES and number == _OP:
            op = data[begin:end]
    return name.decode() if op == _WITH_DEFAULT else ""
