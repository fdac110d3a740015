"""A part's graph as an ONNX model, and its proof."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.proof import DifferenceError, compare
from elastic_inference.frameworks.tensorflow.segments import Extract
from elastic_inference.protocol.tensors import Array

OPSET = 18
# What protobuf can write in one piece, with room for what is not weights.
_LARGEST = 2**31 - 64 * 1024 * 1024
_OWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


class ConversionError(Exception):
    """A graph that has no ONNX form, or not one that gives its results; the message says why."""


def convert(extract: Extract, *, ranked: bool = True) -> Any:
    """The ONNX model of a part's graph. Inputs and outputs have the names of its ports.

    Args:
        ranked: inputs declare their shapes.

    Raises:
        ConversionError: tf2onnx has none, or one with operators that ONNX does not have.
    """
    import tf2onnx  # noqa: PLC0415 - loads TensorFlow

    inputs = [tensor.port for tensor in extract.inputs]
    outputs = [tensor.port for tensor in extract.outputs]
    try:
        with _quiet():
            model, _ = tf2onnx.convert.from_graph_def(
                extract.definition, input_names=inputs, output_names=outputs, opset=OPSET
            )
    # A converter of hundreds of operators fails in as many ways.
    except Exception as error:
        raise ConversionError(f"tf2onnx: {_first_line(error)}") from error
    foreign = {node.op_type for node in model.graph.node if node.domain not in _OWN_DOMAINS}
    if foreign:
        raise ConversionError(f"tf2onnx has no form for {', '.join(sorted(foreign))}")
    if [each.name for each in model.graph.output] != outputs:
        raise ConversionError("tf2onnx changed the outputs")
    _complete_inputs(model, extract.inputs)
    if not ranked:
        _forget_shapes(model)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx logs what it cannot do; the proof finds out."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _complete_inputs(model: Any, tensors: Sequence[Tensor]) -> None:
    """Declare inputs that were optimised away, so that all can be fed."""
    from onnx import helper  # noqa: PLC0415 - with TensorFlow
    from tf2onnx import utils  # noqa: PLC0415 - the same

    present = {each.name for each in model.graph.input}
    for tensor in tensors:
        if tensor.port not in present:
            from tensorflow import as_dtype  # noqa: PLC0415 - the same

            kind = utils.map_tf_dtype(as_dtype(tensor.dtype))
            model.graph.input.append(helper.make_tensor_value_info(tensor.port, kind, tensor.shape))


def _forget_shapes(model: Any) -> None:
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def write(model: Any, path: Path) -> None:
    """Write an ONNX model; its weights beside it where one file cannot hold them."""
    import onnx  # noqa: PLC0415 - with TensorFlow

    large = model.ByteSize() > _LARGEST
    onnx.save_model(
        model, os.fspath(path), save_as_external_data=large, location=f"{path.name}.data"
    )


def prove(
    path: Path, extract: Extract, values: Sequence[Mapping[str, Array]]
) -> Mapping[str, float]:
    """The largest difference to TensorFlow by output, through ONNX Runtime.

    Args:
        values: for each sample, by tensor name.

    Raises:
        ConversionError: ONNX Runtime does not take the model or gives other results.
    """
    import onnxruntime  # noqa: PLC0415 - the worker alone proves

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    differences: dict[str, float] = {}
    try:
        session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )
        for sample in values:
            feeds = {tensor.port: sample[tensor.name] for tensor in extract.inputs}
            results = session.run([tensor.port for tensor in extract.outputs], feeds)
            for tensor, found in zip(extract.outputs, results, strict=True):
                difference = compare(tensor, sample[tensor.name], found)
                differences[tensor.name] = max(difference, differences.get(tensor.name, 0.0))
    except DifferenceError as error:
        raise ConversionError(f"its ONNX form is not equal: {error}") from error
    # ONNX Runtime's own exceptions have no common root but this.
    except Exception as error:
        raise ConversionError(f"ONNX Runtime refuses it: {_first_line(error)}") from error
    return differences
