"""ONNX models as symbols."""

from __future__ import annotations

from typing import Any

from elastic_inference.frameworks.mxnet import gluon, onnx_file, symbol
from elastic_inference.frameworks.mxnet.graph import VARIABLE, Node
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.frameworks.mxnet.onnx_operator import IMPORTED
from elastic_inference.frameworks.mxnet.symbol import Symbol


def import_model(model_file: str) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    """An ONNX file as a symbol, its weights, and no auxiliary states.

    The symbol runs wherever it is bound, all of it as ONNX has it; there is nothing in it to take
    apart.

    Raises:
        InvalidRequestError: the file cannot be read.
        ModelFormatError: it is no ONNX model, or one of other things than tensors of numbers.
    """
    graph, weights = onnx_file.read(str(model_file))
    node = Node(IMPORTED, graph.name, {"model": graph.to_text()})
    for port in (*graph.inputs, *graph.weights):
        node.inputs.append((Node(VARIABLE, port.name), 0))
    made = Symbol([(node, index) for index in range(len(graph.outputs))])
    return made, {name: wrap(each) for name, each in weights.items()}, {}


def get_model_metadata(model_file: str) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Names and shapes of the inputs and the outputs; errors as `import_model`."""
    graph, _ = onnx_file.read(str(model_file))
    return {
        "input_tensor_data": [(port.name, port.shape or ()) for port in graph.inputs],
        "output_tensor_data": [(port.name, port.shape or ()) for port in graph.outputs],
    }


def import_to_gluon(model_file: str, ctx: Any) -> gluon.SymbolBlock:
    """An ONNX file as a Gluon block that runs on `ctx`; errors as `import_model`."""
    made, arguments, states = import_model(model_file)
    names = [each for each in made.list_inputs() if each not in arguments and each not in states]
    block = gluon.SymbolBlock(made, [symbol.var(name) for name in names], arguments | states)
    block.reset_ctx(ctx)
    return block
