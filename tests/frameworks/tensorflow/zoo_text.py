"""Models of strings: pictures as files, examples to parse, tables, and text that comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.frameworks.tensorflow.zoo_graphs import (
    INSTANCE,
    ON_ACCELERATOR,
    ON_INSTANCE,
    ONNX,
    Array,
    Case,
    Feeds,
    control_flow,
    export,
    floats,
    normal,
    save,
    session,
)

_FEATURES, _LABELS = 16, 12


def _table(tf: Any, keys: list[Any], values: list[Any], otherwise: Any) -> Any:
    start = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values))
    return tf.lookup.StaticHashTable(start, otherwise)


def _several(path: Path) -> None:
    """As TensorFlow 1 exports an estimator: three signatures, parsed examples, a table of names."""
    import tensorflow as tf

    v1 = tf.compat.v1
    generator = np.random.default_rng(7)
    with session() as opened:
        examples = v1.placeholder(tf.string, [None], "tf_example")
        parsed = v1.io.parse_example(examples, {"x": v1.FixedLenFeature([_FEATURES], tf.float32)})
        x = tf.identity(parsed["x"], "x")
        sizes = (_FEATURES, 64), (64, _LABELS), (64, 1)
        first, second, third = (
            v1.get_variable(f"weight{number}", initializer=normal(generator, *size))
            for number, size in enumerate(sizes)
        )
        hidden = tf.nn.relu(tf.matmul(x, first))
        scores = tf.nn.softmax(tf.matmul(hidden, second))
        best, order = tf.nn.top_k(scores, 5)
        names = [f"label {number}" for number in range(_LABELS)]
        table = _table(tf, [*range(_LABELS)], names, "unknown")
        classes = table.lookup(order)
        value = tf.matmul(hidden, third)
        save(
            opened,
            path,
            {
                "serving_default": ({"x": x}, {"scores": scores, "value": value}, "predict"),
                "classify": (
                    {"inputs": examples}, {"classes": classes, "scores": best}, "classify"
                ),
                "regress": ({"inputs": examples}, {"outputs": value}, "regress"),
            },
        )  # fmt: skip


def _examples(generator: np.random.Generator) -> Feeds:
    import tensorflow as tf

    def serialized() -> bytes:
        numbers = tf.train.FloatList(value=generator.random(_FEATURES))
        feature = {"x": tf.train.Feature(float_list=numbers)}
        made: bytes = tf.train.Example(
            features=tf.train.Features(feature=feature)
        ).SerializeToString()
        return made

    return {"inputs": np.array([serialized() for _ in range(3)], object)}


def _jpeg(version: int) -> Callable[[Path], None]:
    """Files of pictures, decoded and resized one by one, through a small network, to names."""

    def write(path: Path) -> None:
        import tensorflow as tf

        v1 = tf.compat.v1
        generator = np.random.default_rng(7)

        def decode(data: Any) -> Any:
            image = tf.cast(tf.image.decode_jpeg(data, 3), tf.float32) / 255.0
            return v1.image.resize_images(image, [64, 64])

        with control_flow(version), session() as opened:
            files = v1.placeholder(tf.string, [None], "images")
            found = tf.map_fn(decode, files, fn_output_signature=tf.float32)
            for number, channels in enumerate((16, 32)):
                shape = (3, 3, found.shape[-1], channels)
                kernel = v1.get_variable(f"k{number}", initializer=normal(generator, *shape))
                found = tf.nn.relu(tf.nn.conv2d(found, kernel, 2, "SAME"))
            weight = v1.get_variable("weight", initializer=normal(generator, 32, _LABELS))
            scores = tf.nn.softmax(tf.matmul(tf.reduce_mean(found, [1, 2]), weight))
            best, order = tf.nn.top_k(scores, 3)
            names = tf.constant([f"label {number}" for number in range(_LABELS)])
            outputs = {"classes": tf.gather(names, order), "scores": best}
            save(opened, path, {"predict_images": ({"images": files}, outputs, "predict")})

    return write


def jpeg(generator: np.random.Generator, height: int, width: int) -> bytes:
    """A picture's file."""
    import cv2

    coarse = generator.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    data: bytes = cv2.imencode(".jpg", picture)[1].tobytes()
    return data


def _files(generator: np.random.Generator) -> Feeds:
    sizes = (40, 60), (90, 70), (64, 64)
    return {"images": np.array([jpeg(generator, *size) for size in sizes], object)}


def _lookup(path: Path) -> None:
    """Words through a layer of Keras that knows them, to a score for each sentence."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    words = keras.Input((4,), dtype="string", name="words")
    numbers = layers.StringLookup(vocabulary=["cat", "dog", "fish", "bird"])(words)
    found = layers.GlobalAveragePooling1D()(layers.Embedding(6, 16)(numbers))
    model = keras.Model(words, layers.Dense(3, activation="softmax")(found))
    import tensorflow as tf

    spec = tf.TensorSpec([None, 4], tf.string, "words")
    model.export(str(path), verbose=False, input_signature=[spec])


def _animals(generator: np.random.Generator) -> Feeds:
    known = np.array([b"cat", b"dog", b"fish", b"bird", b"ant", "élan".encode(), b""], object)
    return {"words": known[generator.integers(0, len(known), (3, 4))]}


def _ragged(path: Path) -> None:
    """Texts split into words, of which each text has its own number; a score for each word."""
    import tensorflow as tf

    weight = tf.Variable(normal(np.random.default_rng(7), 32, 16))

    def call(texts: Any) -> dict[str, Any]:
        words = tf.strings.split(texts)
        numbers = tf.strings.to_hash_bucket_fast(words.flat_values, 32)
        found = tf.gather(weight, numbers)
        scores = words.with_flat_values(tf.reduce_sum(tf.matmul(found, found, False, True), -1))
        return {
            "words": words.flat_values,
            "splits": words.row_splits,
            "padded": words.to_tensor(""),
            "scores": scores.to_tensor(),
            "upper": tf.strings.upper(texts),
        }

    export(path, call, tf.TensorSpec([None], tf.string, "texts"), track=[weight])


def _texts(generator: np.random.Generator) -> Feeds:
    words = ["a", "long", "short", "naïve", "word", "日本"]
    texts = [
        " ".join(words[each] for each in generator.integers(0, len(words), count))
        for count in (3, 0, 5)
    ]
    return {"texts": np.array([text.encode() for text in texts], object)}


def _numbers(generator: np.random.Generator) -> dict[str, Array]:
    return {"x": floats(generator, 3, _FEATURES)}


CASES: Mapping[str, Case] = {
    "several": Case(_several, _numbers),
    "several_classify": Case(
        _several,
        _examples,
        signature="classify",
        model="several",
        runs=(INSTANCE, ONNX, INSTANCE),
    ),
    "several_regress": Case(
        _several, _examples, signature="regress", model="several", runs=(INSTANCE, ONNX)
    ),
    "jpeg_v1": Case(_jpeg(1), _files, signature="predict_images", runs=(INSTANCE, ONNX)),
    "jpeg_v2": Case(_jpeg(2), _files, signature="predict_images", runs=(INSTANCE, ONNX)),
    "string_lookup": Case(_lookup, _animals, runs=(ON_INSTANCE, ON_ACCELERATOR)),
    "ragged": Case(_ragged, _texts, runs=(ON_ACCELERATOR,)),
}
