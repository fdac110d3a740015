"""Values to try a graph with: random, of the right dtypes and of shapes that it may take."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.examples import features_of
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.plan import Shape
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array

MOST_ATTEMPTS = 24
# From that recipe on, floats have either sign: most models take numbers from 0 to 1.
_FIRST_SPREAD = 2
_PICTURE_DECODERS = frozenset(
    [
        "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePng",
        "DecodeWebP", "ExtractJpegShape",
    ]
)  # fmt: skip
_WORDS = (b"a", b"the", b"cat", b"dog", b"0", b"1", b"hello world", b"unknown-word")
_EXAMPLES, _PICTURES, _TEXT, _NUMBERS = "examples", "pictures", "words", "numbers"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How unknown things are chosen.

    Attributes:
        batch, rest: sizes for the first unknown dimension and for others.
        picture: height and width where an input looks like a picture.
        highest: bound of integers, exclusive.
        text: what strings are.
        seed: of the random numbers.
    """

    batch: int = 1
    rest: int = 4
    picture: tuple[int, int] = (96, 128)
    highest: int = 10
    text: str = _TEXT
    seed: int = 0


def recipes(graph: Graph) -> Iterator[Recipe]:
    """Recipes in the order in which they are worth trying."""
    return islice(_all_recipes(graph), MOST_ATTEMPTS)


def _all_recipes(graph: Graph) -> Iterator[Recipe]:
    sizes = [
        (1, 4, (96, 128)),
        (2, 7, (120, 96)),
        (1, 1, (224, 224)),
        (2, 2, (299, 299)),
        (1, 28, (28, 28)),
        (1, 16, (64, 64)),
    ]
    numbers = [10, 2, 1] if _has_integers(graph) else [10]
    texts = _texts(graph)
    for text in texts:
        for highest in numbers:
            for seed, (batch, rest, picture) in enumerate(sizes):
                yield Recipe(batch, rest, picture, highest, text, seed)


def _has_integers(graph: Graph) -> bool:
    return any("int" in graph.dtype(name) for name in graph.fed)


def _texts(graph: Graph) -> list[str]:
    if all(graph.dtype(name) != "string" for name in graph.fed):
        return [_TEXT]
    operators = set(graph.operators(graph.nodes))
    first = []
    if any(op.startswith("Parse") for op in operators):
        first.append(_EXAMPLES)
    if not _PICTURE_DECODERS.isdisjoint(operators):
        first.append(_PICTURES)
    if "StringToNumber" in operators:
        first.append(_NUMBERS)
    return [*first, _TEXT]


def draw(graph: Graph, names: Iterable[str], recipe: Recipe) -> dict[str, Array]:
    """A value for each tensor of `names`."""
    return {
        name: value_for(graph, name, graph.dtype(name), shape_for(graph, name, recipe), recipe)
        for name in sorted(names)
    }


def shape_for(graph: Graph, name: str, recipe: Recipe) -> tuple[int, ...]:
    shape = graph.shape(name)
    if shape is None:
        return (recipe.batch,)
    if len(shape) == 4 and shape[3] in {None, 1, 3, 4}:
        return _picture(shape, recipe)
    first = True
    sizes = []
    for size in shape:
        sizes.append(size if size is not None else recipe.batch if first else recipe.rest)
        first = first and size is not None
    return tuple(sizes)


def _picture(shape: Shape, recipe: Recipe) -> tuple[int, ...]:
    wanted = (recipe.batch, *recipe.picture, 3)
    return tuple(
        given if size is None else size for size, given in zip(shape or (), wanted, strict=True)
    )


def value_for(graph: Graph, name: str, dtype: str, shape: tuple[int, ...], recipe: Recipe) -> Array:
    rng = np.random.default_rng((recipe.seed, zlib.crc32(name.encode())))
    if dtype == "string":
        return _strings(graph, shape, recipe, rng)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype == "bfloat16":
        import ml_dtypes  # noqa: PLC0415 - comes with TensorFlow

        return rng.random(shape).astype(ml_dtypes.bfloat16)
    carrier = carrier_of(dtype)
    if carrier.kind in "iu":
        highest = 256 if dtype == "uint8" and recipe.highest > 2 else recipe.highest
        return rng.integers(0, highest, shape).astype(carrier)
    values = rng.random(shape)
    if recipe.seed >= _FIRST_SPREAD:
        values = values * 4 - 2
    return (values + 1j * rng.random(shape) if carrier.kind == "c" else values).astype(carrier)


def _strings(graph: Graph, shape: tuple[int, ...], recipe: Recipe, rng: Any) -> Array:
    array = np.empty(shape, object)
    for index in np.ndindex(shape):
        array[index] = _string(graph, recipe, rng)
    return array


def _string(graph: Graph, recipe: Recipe, rng: Any) -> bytes:
    if recipe.text == _PICTURES:
        picture = _jpeg(rng)
        in_base64 = "DecodeBase64" in graph.operators(graph.nodes)
        return base64.urlsafe_b64encode(picture).rstrip(b"=") if in_base64 else picture
    if recipe.text == _EXAMPLES:
        return _example(graph, rng)
    if recipe.text == _NUMBERS:
        return str(int(rng.integers(0, 10))).encode()
    return _WORDS[int(rng.integers(len(_WORDS)))]


def _jpeg(rng: Any) -> bytes:
    import tensorflow as tf  # noqa: PLC0415 - the worker alone draws samples

    height, width = int(rng.integers(40, 90)), int(rng.integers(40, 90))
    # Smooth pictures: noise is no picture, and resizing it differs by more than it should.
    coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        large = tf.cast(tf.image.resize(coarse, (height, width)), tf.uint8)
        return bytes(session.run(tf.io.encode_jpeg(large, quality=95)))


def _example(graph: Graph, rng: Any) -> bytes:
    import tensorflow as tf  # noqa: PLC0415 - the same

    features: dict[str, Any] = {}
    for key, dtype, count in features_of(graph):
        if dtype == "string":
            texts = _picture_or_words(graph, rng, count)
            features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
        elif dtype == "int64":
            numbers = rng.integers(0, 10, count)
            features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
        else:
            floats = rng.random(count)
            features[key] = tf.train.Feature(float_list=tf.train.FloatList(value=floats))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString())


def _picture_or_words(graph: Graph, rng: Any, count: int) -> list[bytes]:
    if not _PICTURE_DECODERS.isdisjoint(graph.operators(graph.nodes)):
        return [_jpeg(rng) for _ in range(count)]
    return [_WORDS[int(each)] for each in rng.integers(0, len(_WORDS), count)]
