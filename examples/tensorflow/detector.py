"""A detector of circles, squares and triangles, trained on pictures that are drawn for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from shapes import NAMES, Picture, Shape, scene
from ssd import Array, Detector

STEPS = 800
_BATCH = 16
_DETECTOR = Detector(classes=len(NAMES))


def cached(say: Callable[[str], None] = print) -> Path:
    """The frozen graph of the trained detector, trained once and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "elastic-inference-examples" / f"shapes-{STEPS}.pb"
    if not path.exists():
        say(f"Training a detector of {', '.join(NAMES)} for {path}.")
        started = time.monotonic()
        graph = train()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(graph.SerializeToString())
        unfinished.replace(path)
        say(f"It took {time.monotonic() - started:.0f} s.")
    return path


def train(steps: int = STEPS, seed: int = 0) -> Any:
    """Train a detector; its GraphDef."""
    start = _DETECTOR.random_weights(seed)
    variables = {name: tf.Variable(value) for name, value in start.items()}
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(list(variables.values()))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # no types there
    def step(pictures: Any, offsets: Any, classes: Any) -> Any:
        with tf.GradientTape() as tape:
            images = _DETECTOR.prepare(tf.cast(pictures, tf.float32))
            loss = _loss(*_DETECTOR.predict(images, variables), offsets, classes)
        gradients = tape.gradient(loss, list(variables.values()))
        optimizer.apply_gradients(zip(gradients, variables.values(), strict=True))
        return loss

    generator = np.random.default_rng(seed)
    for _ in range(steps):
        step(*_batch(generator))
    return _DETECTOR.graph({name: each.numpy() for name, each in variables.items()})


def _loss(offsets: Any, logits: Any, right_offsets: Any, right_classes: Any) -> Any:
    """Of classes, where rare things count more; and of boxes, where there is a thing."""
    wrong = 1 - tf.reduce_sum(tf.nn.softmax(logits) * tf.one_hot(right_classes, len(NAMES) + 1), -1)
    weight = tf.where(right_classes > 0, 1.0, 0.5) * wrong**1.5
    about_classes = weight * tf.nn.sparse_softmax_cross_entropy_with_logits(right_classes, logits)
    there = tf.cast(right_classes > 0, tf.float32)
    away = tf.abs(offsets - right_offsets)
    about_boxes = tf.reduce_sum(tf.where(away < 1, away**2 / 2, away - 0.5), -1) * there
    things = tf.reduce_sum(there) + 1
    return (tf.reduce_sum(about_classes) * 3 + tf.reduce_sum(about_boxes)) / things


def _batch(generator: np.random.Generator) -> tuple[Picture, Array, Any]:
    pictures, offsets, classes = [], [], []
    for _ in range(_BATCH):
        picture, shapes = scene(generator)
        right_offsets, right_classes = _targets(shapes, picture.shape[1], picture.shape[0])
        pictures.append(picture)
        offsets.append(right_offsets)
        classes.append(right_classes)
    return np.stack(pictures), np.stack(offsets), np.stack(classes)


def _targets(shapes: list[Shape], width: int, height: int) -> tuple[Array, Any]:
    """For each anchor the offsets and the class of the shape that it is to find, or 0."""
    boxes = np.array([shape.box(width, height) for shape in shapes], np.float32)
    kinds = np.array([shape.kind for shape in shapes])
    anchors = _DETECTOR.anchors
    half = anchors[:, 2:] / 2
    around = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], 1)
    overlaps = overlap(around[:, None], boxes[None])
    nearest = overlaps.argmax(1)
    found = overlaps.max(1) > 0.4
    best = overlaps.argmax(0)
    nearest[best] = np.arange(len(shapes))
    found[best] = True
    return _DETECTOR.encode(boxes[nearest]), np.where(found, kinds[nearest], 0)


def overlap(one: Array, other: Array) -> Array:
    """How much boxes have in common, of all that they cover: 1 for the same, 0 for apart."""
    top, bottom = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(bottom - top, 0), -1)
    areas = [np.prod(each[..., 2:] - each[..., :2], -1) for each in (one, other)]
    result: Array = common / np.maximum(areas[0] + areas[1] - common, 1e-9)
    return result
