"""Networks of Keras: those that everybody uses, and layers that others are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.frameworks.tensorflow.zoo_graphs import (
    ON_ACCELERATOR,
    Array,
    Case,
    Feeds,
    floats,
    normal,
)

VIEWS = 4


def application(name: str, side: int, **options: Any) -> Case:
    """A network of keras.applications with all its layers."""

    def write(path: Path) -> None:
        import keras

        keras.utils.set_random_seed(7)
        shape = (side, side, 3)
        model = getattr(keras.applications, name)(weights=None, input_shape=shape, **options)
        _settle(keras, model, side)
        model.export(str(path), verbose=False, input_signature=[_spec((None, *shape), "images")])

    def feeds(generator: np.random.Generator) -> Feeds:
        return {"images": floats(generator, 1, side, side, 3)}

    return Case(write, feeds, slow=True)


def _settle(keras: Any, model: Any, side: int) -> None:
    """Let activations and scores differ from picture to picture, as training leads to."""
    normalizations = [
        each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)
    ]
    for each in normalizations:
        each.momentum = 0.0
    model(floats(np.random.default_rng(7), 8, side, side, 3), training=True)
    # What hardly varies must not be made large: no two libraries would agree on it.
    for each in normalizations:
        variance = each.moving_variance.numpy()
        each.moving_variance.assign(np.maximum(variance, variance.mean()))
    kernel = model.layers[-1].kernel
    kernel.assign(kernel * 2.0)


def _spec(shape: tuple[int | None, ...], name: str, dtype: str = "float32") -> Any:
    import tensorflow as tf

    return tf.TensorSpec(shape, dtype, name)


def _mvcnn(path: Path) -> None:
    """Several views of one thing through one network, of which the strongest features count."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    shared = keras.Sequential(
        [
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    views = keras.Input((VIEWS, 48, 48, 3), name="views")
    features = layers.TimeDistributed(shared)(views)
    pooled = layers.Lambda(lambda each: keras.ops.max(each, axis=1))(features)
    hidden = layers.Dense(64, activation="relu")(pooled)
    model = keras.Model(views, layers.Dense(40, activation="softmax")(hidden))
    spec = _spec((None, VIEWS, 48, 48, 3), "views")
    model.export(str(path), verbose=False, input_signature=[spec])


def _recurrent(layer: str, *, masked: bool) -> Callable[[Path], None]:
    """Words to one of two classes, through one recurrent layer; a word 0 is no word if masked."""

    def write(path: Path) -> None:
        import keras
        from keras import layers

        keras.utils.set_random_seed(7)
        model = keras.Sequential(
            [
                keras.Input((12,), dtype="int32", name="words"),
                layers.Embedding(50, 16, mask_zero=masked),
                getattr(layers, layer)(24, return_sequences=True),
                getattr(layers, layer)(16),
                layers.Dense(2, activation="softmax"),
            ]
        )
        spec = _spec((None, 12), "words", "int32")
        model.export(str(path), verbose=False, input_signature=[spec])

    return write


def _words(generator: np.random.Generator) -> Feeds:
    words = generator.integers(1, 50, (3, 12)).astype(np.int32)
    for row, length in enumerate((12, 7, 1)):
        words[row, length:] = 0
    return {"words": words}


def _half(dtype: str) -> Callable[[Path], None]:
    """A small network of 16-bit numbers throughout, from its input to its output."""

    def write(path: Path) -> None:
        import tensorflow as tf

        from tests.frameworks.tensorflow.zoo_graphs import export

        generator = np.random.default_rng(7)
        kernel, weight = (
            tf.Variable(tf.cast(normal(generator, *shape), dtype))
            for shape in ((3, 3, 3, 16), (16, 10))
        )

        def call(images: Any) -> dict[str, Any]:
            found = tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME"))
            scores = tf.matmul(tf.reduce_mean(found, [1, 2]), weight)
            return {"scores": scores, "probabilities": tf.nn.softmax(scores)}

        spec = _spec((None, 16, 16, 3), "images", dtype)
        export(path, call, spec, track=[kernel, weight])

    return write


def _half_feeds(dtype: str) -> Callable[[np.random.Generator], Feeds]:
    def feeds(generator: np.random.Generator) -> Feeds:
        return {"images": _as(dtype, floats(generator, 2, 16, 16, 3))}

    return feeds


def _as(dtype: str, values: Array) -> Array:
    import ml_dtypes

    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _views(generator: np.random.Generator) -> Feeds:
    return {"views": floats(generator, 2, VIEWS, 48, 48, 3)}


CASES: Mapping[str, Case] = {
    "resnet50": application("ResNet50", 224),
    "mobilenet_v2": application("MobileNetV2", 96, alpha=0.35),
    "inception_v3": application("InceptionV3", 75),
    "efficientnet_b0": application("EfficientNetB0", 64),
    "mvcnn": Case(_mvcnn, _views),
    "lstm": Case(_recurrent("LSTM", masked=False), _words),
    "lstm_masked": Case(_recurrent("LSTM", masked=True), _words),
    "gru": Case(_recurrent("GRU", masked=False), _words),
    "gru_masked": Case(_recurrent("GRU", masked=True), _words),
    "float16": Case(_half("float16"), _half_feeds("float16")),
    "bfloat16": Case(_half("bfloat16"), _half_feeds("bfloat16"), runs=(ON_ACCELERATOR,)),
}
