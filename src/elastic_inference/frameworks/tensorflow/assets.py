"""Files that a graph reads, such as vocabularies: who names them in the graph, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from elastic_inference.protocol.tensorflow import NUMBERS, node_of

FOLDER = "assets"
_COLLECTION = "saved_model_assets"


def find_assets(meta: Any, model: Path) -> dict[str, str]:
    """The file by the node that gives its name, of the MetaGraphDef `meta`."""
    return {
        node_of(each.tensor_info.name): str(model / FOLDER / each.filename)
        for each in (*meta.asset_file_def, *_collected(meta))
    }


def _collected(meta: Any) -> Iterator[Any]:
    """Where older models have them."""
    from tensorflow.core.protobuf import meta_graph_pb2  # noqa: PLC0415 - with TensorFlow

    if _COLLECTION in meta.collection_def:
        for each in meta.collection_def[_COLLECTION].any_list.value:
            found = meta_graph_pb2.AssetFileDef()
            each.Unpack(found)
            yield found


def name_assets(definition: Any, files: Mapping[str, str]) -> None:
    """Let nodes of a graph give the names in `files`, whatever they gave before.

    TensorFlow's loaders feed these nodes where they fill tables; a session of a plan does not.
    """
    for node in definition.node:
        if node.name in files:
            node.op = "Const"
            del node.input[:]
            node.attr.clear()
            node.attr["dtype"].type = NUMBERS["string"]
            tensor = node.attr["value"].tensor
            tensor.dtype = NUMBERS["string"]
            tensor.tensor_shape.SetInParent()
            tensor.string_val.append(files[node.name].encode())
