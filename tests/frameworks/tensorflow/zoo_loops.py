"""Loops of all three kinds that TensorFlow has, and what only TensorFlow computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.frameworks.tensorflow.zoo_graphs import (
    ON_ACCELERATOR,
    Case,
    Feeds,
    control_flow,
    export,
    floats,
    freeze,
    normal,
    save,
    session,
)

_SIZE = 8


def _settle(x: Any, weight: Any) -> tuple[Any, Any]:
    """A row applied to a matrix until it no longer changes: steps and the row.

    How often depends on the numbers that are fed.
    """
    import tensorflow as tf

    def goes_on(step: Any, row: Any, before: Any) -> Any:
        return (step < 50) & (tf.reduce_max(tf.abs(row - before)) > 1e-3)

    def body(step: Any, row: Any, _: Any) -> tuple[Any, Any, Any]:
        return step + 1, tf.nn.tanh(tf.matmul(row, weight)) * 0.5 + x, row

    before = tf.ones_like(x) * 9.0
    step, row, _ = tf.compat.v1.while_loop(goes_on, body, (tf.constant(0), x, before))
    return step, row


def _weight() -> Any:
    return normal(np.random.default_rng(7), _SIZE, _SIZE)


def _graph_loop(version: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import tensorflow as tf

        v1 = tf.compat.v1
        with control_flow(version), session() as opened:
            x = v1.placeholder(tf.float32, [None, _SIZE], name="x")
            steps, row = _settle(x, v1.get_variable("weight", initializer=_weight()))
            save(
                opened,
                path,
                {"serving_default": ({"x": x}, {"steps": steps, "row": row}, "predict")},
            )

    return write


def _function_loop(path: Path) -> None:
    import tensorflow as tf

    weight = tf.Variable(_weight())

    def call(x: Any) -> dict[str, Any]:
        steps, row = _settle(x, weight)
        return {"steps": steps, "row": row}

    export(path, call, tf.TensorSpec([None, _SIZE], tf.float32, "x"), track=[weight])


def _branches(path: Path) -> None:
    """Which of two branches runs depends on the numbers that are fed."""
    import tensorflow as tf

    weight = tf.Variable(_weight())

    def call(x: Any) -> dict[str, Any]:
        y = tf.cond(
            tf.reduce_mean(x) > 0.5,
            lambda: tf.matmul(x, weight),
            lambda: tf.nn.relu(tf.matmul(x, weight, transpose_b=True)),
        )
        return {"y": y}

    export(path, call, tf.TensorSpec([None, _SIZE], tf.float32, "x"), track=[weight])


def _frozen(path: Path) -> None:
    """A network of TensorFlow 1 in one file."""
    import tensorflow as tf

    v1 = tf.compat.v1
    generator = np.random.default_rng(7)
    with session() as opened:
        images = v1.placeholder(tf.float32, [None, 32, 32, 3], name="input")
        kernel = v1.get_variable("kernel", initializer=normal(generator, 3, 3, 3, 16))
        found = tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME"))
        found = tf.nn.max_pool2d(found, 2, 2, "VALID")
        weight = v1.get_variable("weight", initializer=normal(generator, 8 * 8 * 16, 10))
        logits = tf.matmul(tf.reshape(found, [-1, 8 * 8 * 16]), weight)
        tf.nn.softmax(logits, name="probabilities")
        tf.identity(logits, name="logits")
        freeze(opened, path, ["probabilities", "logits"])


def _singular(path: Path) -> None:
    """Singular values between two layers, for which ONNX has no operator."""
    import tensorflow as tf

    weight = tf.Variable(_weight())

    def call(x: Any) -> dict[str, Any]:
        found = tf.linalg.svd(tf.nn.relu(tf.matmul(x, weight)), compute_uv=False)
        return {"values": tf.matmul(found, weight)}

    spec = tf.TensorSpec([None, _SIZE, _SIZE], tf.float32, "x")
    export(path, call, spec, track=[weight])


def _rows(generator: np.random.Generator) -> Feeds:
    return {"x": floats(generator, 3, _SIZE)}


CASES: Mapping[str, Case] = {
    "loop_v1": Case(_graph_loop(1), _rows, runs=(ON_ACCELERATOR,)),
    "loop_v2": Case(_graph_loop(2), _rows, runs=(ON_ACCELERATOR,)),
    "loop_function": Case(_function_loop, _rows, runs=(ON_ACCELERATOR,)),
    "branches": Case(_branches, _rows, runs=(ON_ACCELERATOR,)),
    "frozen": Case(
        _frozen,
        lambda generator: {"x": floats(generator, 2, 32, 32, 3)},
        inputs={"x": "input:0"},
        outputs={"probabilities": "probabilities:0", "logits": "logits:0"},
    ),
    "singular": Case(
        _singular,
        lambda generator: {"x": floats(generator, 2, _SIZE, _SIZE)},
        runs=(ON_ACCELERATOR,),
    ),
}
