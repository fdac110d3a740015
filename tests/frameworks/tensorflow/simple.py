"""Small models for the tests of the predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def saved_model(folder: Path) -> Path:
    """TensorFlow 1's: `x` times WEIGHTS times `scale`, which is 2 by default; a second signature
    takes words, a third reads a file, a fourth has TensorFlow 1's alternative name.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        scale = v1.placeholder_with_default(tf.constant(2.0), [], name="scale")
        weights = v1.get_variable("weights", initializer=WEIGHTS)
        y = tf.multiply(tf.matmul(x, weights), scale, name="y")
        count = tf.reshape(tf.reduce_sum(tf.ones_like(x[:, 0])), [1], name="count")
        largest = tf.reduce_max(y, name="largest")
        words = v1.placeholder(tf.string, [None], name="words")
        upper = tf.strings.upper(words, name="upper")
        path = v1.placeholder(tf.string, [], name="path")
        content = tf.io.read_file(path, name="content")
        session.run(v1.global_variables_initializer())
        predict = _signature(v1, {"x": x, "scale": scale}, {"y": y, "count": count})
        default = _signature(
            v1, {"x": x, "scale": scale}, {"y": y, "count": count, "largest": largest}
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": default,
                "words": _signature(v1, {"words": words}, {"upper": upper}),
                "read": _signature(v1, {"path": path}, {"content": content}),
                "default_input_alternative:old": predict,
            },
        )
        builder.save()
    return folder


def _signature(v1: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    describe = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {key: describe(tensor) for key, tensor in inputs.items()},
        {key: describe(tensor) for key, tensor in outputs.items()},
        "tensorflow/serving/predict",
    )


def frozen_graph(path: Path) -> Path:
    """A graph that multiplies `image:0` (uint8) by 2, to `doubled:0` (float32)."""
    path.write_bytes(graph().as_graph_def().SerializeToString())
    return path


def graph() -> Any:
    """The graph in `frozen_graph`."""
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        image = tf.compat.v1.placeholder(tf.uint8, [None, 2, 2, 1], name="image")
        tf.multiply(tf.cast(image, tf.float32), 2.0, name="doubled")
    return made
