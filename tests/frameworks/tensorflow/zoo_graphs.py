"""What the models of the zoo have in common: how one is written and what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Feeds: TypeAlias = dict[str, Array]
ONNX, TENSORFLOW = "accelerator/onnx", "accelerator/tensorflow"
INSTANCE = "instance/tensorflow"
# On either engine, in one segment or in several.
ON_ACCELERATOR, ON_INSTANCE = "accelerator", "instance"


@dataclass(frozen=True, slots=True)
class Case:
    """One model of the zoo and one way into it.

    Attributes:
        write: writes it to a path that does not exist yet.
        feeds: its inputs by key, other ones for each state of the generator.
        signature: its key in a SavedModel.
        inputs, outputs: tensor names by key, for a frozen graph.
        model: the name it is written under, where several cases share one.
        runs: place and engine of its segments, in order.
        slow: whether its conversion takes more than some seconds.
    """

    write: Callable[[Path], None]
    feeds: Callable[[np.random.Generator], Feeds]
    signature: str = "serving_default"
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    runs: tuple[str, ...] = (ONNX,)
    slow: bool = False


def pictures(generator: np.random.Generator, count: int, height: int, width: int) -> Array:
    """Pictures in squares of 6 by 6 pixels, each of a colour from 0 to 255."""
    coarse = generator.integers(0, 256, (count, height // 6, width // 6, 3), np.uint8)
    return coarse.repeat(6, 1).repeat(6, 2)


def floats(generator: np.random.Generator, *shape: int) -> Array:
    """Random numbers from 0 to 1."""
    return generator.random(shape, np.float32)


def normal(generator: np.random.Generator, *shape: int, scale: float = 0.0) -> Array:
    """Random weights, by default scaled so that a layer keeps the size of its input."""
    spread = scale or (2 / np.prod(shape[:-1])) ** 0.5
    return (generator.standard_normal(shape) * spread).astype(np.float32)


@contextlib.contextmanager
def control_flow(version: int) -> Iterator[None]:
    """Graphs built meanwhile have loops of TensorFlow 1 (Enter, Exit) or of functions (While)."""
    import tensorflow as tf

    v1 = tf.compat.v1
    before = v1.control_flow_v2_enabled()
    (v1.enable_control_flow_v2 if version == 2 else v1.disable_control_flow_v2)()
    try:
        yield
    finally:
        (v1.enable_control_flow_v2 if before else v1.disable_control_flow_v2)()


@contextlib.contextmanager
def session() -> Iterator[Any]:
    """A session of TensorFlow 1 with a graph of its own, which is the default meanwhile."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as opened:
        yield opened


def freeze(opened: Any, path: Path, outputs: list[str]) -> None:
    """Write the session's graph to one file, with its variables as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_from_session_graph as frozen,
    )

    opened.run(tf.compat.v1.global_variables_initializer())
    graph = frozen(opened, opened.graph.as_graph_def(), outputs)
    path.write_bytes(graph.SerializeToString())


def save(
    opened: Any,
    path: Path,
    signatures: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], str]],
) -> None:
    """Write the session's graph as TensorFlow 1 writes a SavedModel.

    Args:
        opened: the session.
        path: of the folder, which does not exist yet.
        signatures: by key: inputs and outputs (tensors by key) and the method's name.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    start = v1.tables_initializer()
    opened.run([v1.global_variables_initializer(), start])
    builder = v1.saved_model.builder.SavedModelBuilder(str(path))
    builder.add_meta_graph_and_variables(
        opened,
        ["serve"],
        signature_def_map={
            key: v1.saved_model.signature_def_utils.build_signature_def(
                {name: v1.saved_model.build_tensor_info(each) for name, each in inputs.items()},
                {name: v1.saved_model.build_tensor_info(each) for name, each in outputs.items()},
                f"tensorflow/serving/{method}",
            )
            for key, (inputs, outputs, method) in signatures.items()
        },
        main_op=start,
    )
    builder.save()


def export(path: Path, call: Callable[..., Any], *inputs: Any, track: Any = ()) -> None:
    """Write a function of tensors as TensorFlow 2 writes a SavedModel.

    Args:
        path: of the folder, which does not exist yet.
        call: takes tensors and gives a dict of them.
        inputs: a TensorSpec, with its key as name, for each argument.
        track: what the function uses of variables and tables.
    """
    import tensorflow as tf

    module = tf.Module()
    module.tracked = track
    function = tf.function(call, input_signature=inputs, autograph=False)
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
