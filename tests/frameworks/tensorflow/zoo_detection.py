"""Detectors: a single-shot one, one of two stages, and the ends that newer ones have."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.frameworks.tensorflow.zoo_graphs import (
    ON_ACCELERATOR,
    Array,
    Case,
    Feeds,
    control_flow,
    export,
    floats,
    freeze,
    normal,
    pictures,
    save,
    session,
)

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "tensorflow"
DETECTIONS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_TENSORS = {name: f"{name}:0" for name in DETECTIONS}


def example(name: str) -> Any:
    """A module of the examples, which are scripts and import each other as scripts do."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


def _ssd(version: int, *, frozen: bool = False, side: int = 96) -> Callable[[Path], None]:
    """The Object Detection API's form, with weights under which scores are far apart."""

    def write(path: Path) -> None:
        detector = example("ssd").Detector(classes=5, side=side, threshold=0.7, most=30)
        weights = detector.random_weights(7)
        generator = np.random.default_rng(7)
        for name in [each for each in weights if each.endswith("/classes")]:
            weights[name] = normal(generator, *weights[name].shape) * 2
            weights[f"{name}/bias"] = normal(generator, weights[name].shape[-1], scale=0.5)
        with control_flow(version), session() as opened:
            detector.add(weights)
            if frozen:
                path.write_bytes(opened.graph.as_graph_def().SerializeToString())
            else:
                save(opened, path, {"serving_default": _signature(opened)})

    return write


def _signature(opened: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    found = opened.graph.get_tensor_by_name
    outputs = {name: found(tensor) for name, tensor in _TENSORS.items()}
    return {"inputs": found("image_tensor:0")}, outputs, "predict"


def _pictures(generator: np.random.Generator) -> Feeds:
    return {"inputs": pictures(generator, 2, 72, 90)}


def _faster_rcnn(path: Path) -> None:
    """Proposals of a first stage are cut out of the features and looked at by a second one."""
    import tensorflow as tf

    v1 = tf.compat.v1
    generator = np.random.default_rng(7)

    def layer(found: Any, name: str, kernel: int, channels: int, stride: int = 1) -> Any:
        with v1.variable_scope(name):
            shape = (kernel, kernel, found.shape[-1], channels)
            weight = v1.get_variable("weights", initializer=normal(generator, *shape))
            return tf.nn.conv2d(found, weight, stride, "SAME")

    with control_flow(1), session() as opened:
        image = v1.placeholder(tf.uint8, [None, None, None, 3], "image_tensor")
        images = tf.map_fn(
            lambda each: v1.image.resize_images(each, [96, 96]), tf.cast(image, tf.float32)
        )
        found = tf.nn.relu(layer(images / 127.5 - 1.0, "conv1", 3, 16, 2))
        found = tf.nn.relu(layer(found, "conv2", 3, 24, 2))
        features = tf.nn.relu(layer(found, "conv3", 3, 32, 2))
        hidden = tf.nn.relu(layer(features, "rpn", 3, 32))
        offsets = tf.reshape(layer(hidden, "rpn_boxes", 1, 4), [-1, 144, 4])
        chances = tf.sigmoid(tf.reshape(layer(hidden, "rpn_scores", 1, 1), [-1, 144]))
        anchors = _anchors(12, 0.3)
        proposals = tf.map_fn(
            lambda each: _propose(_moved(anchors, each[0] * 0.05), each[1]),
            (offsets, chances),
            fn_output_signature=tf.float32,
        )
        crops = _crop(features, proposals)
        flat = tf.reshape(tf.nn.relu(layer(crops, "second", 3, 32, 2)), [-1, 4 * 4 * 32])
        outputs = []
        for name, values in (("boxes", 4), ("scores", 4)):
            weight = v1.get_variable(name, initializer=normal(generator, 512, values) * 2)
            outputs.append(tf.reshape(tf.matmul(flat, weight), [-1, 8, values]))
        boxes = _moved(proposals, outputs[0] * 0.02)
        kept = tf.map_fn(
            lambda each: _best(*each),
            (boxes, tf.nn.softmax(outputs[1])[..., 1:]),
            fn_output_signature=(tf.float32,) * 4,
        )
        for name, tensor in zip(DETECTIONS, kept, strict=True):
            tf.identity(tensor, name)
        freeze(opened, path, list(DETECTIONS))


def _anchors(side: int, size: float) -> Array:
    places = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(places, places, indexing="ij")
    edges = np.stack([y - size / 2, x - size / 2, y + size / 2, x + size / 2], -1)
    return edges.reshape(-1, 4).astype(np.float32)


def _moved(boxes: Any, offsets: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(boxes + tf.tanh(offsets), 0.0, 1.0)


def _propose(boxes: Any, scores: Any) -> Any:
    """The eight best boxes of one picture that are apart, or fewer and then empty ones."""
    import tensorflow as tf

    chosen = tf.image.non_max_suppression(boxes, scores, 8, 0.7)
    found = tf.gather(boxes, chosen)
    return tf.reshape(tf.pad(found, [[0, 8 - tf.shape(found)[0]], [0, 0]]), [8, 4])


def _crop(features: Any, proposals: Any) -> Any:
    import tensorflow as tf

    count = tf.shape(proposals)[0]
    owner = tf.reshape(tf.tile(tf.range(count)[:, None], [1, 8]), [-1])
    crops = tf.image.crop_and_resize(features, tf.reshape(proposals, [-1, 4]), owner, [16, 16])
    return tf.nn.max_pool2d(crops, 2, 2, "SAME")


def _best(boxes: Any, scores: Any) -> tuple[Any, ...]:
    """What is found in one picture: boxes, scores, classes, and how many, as floats."""
    import tensorflow as tf

    score = tf.reduce_max(scores, -1)
    chosen = tf.image.non_max_suppression(boxes, score, 8, 0.6, 0.15)
    count = tf.shape(chosen)[0]
    pad = [[0, 8 - count]]
    classes = tf.cast(tf.argmax(scores, -1) + 1, tf.float32)
    return (
        tf.pad(tf.gather(boxes, chosen), [*pad, [0, 0]]),
        tf.pad(tf.gather(score, chosen), pad),
        tf.pad(tf.gather(classes, chosen), pad),
        tf.cast(count, tf.float32),
    )


def _heads() -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """A network of TensorFlow 2 that gives 64 boxes and their scores for 4 classes."""
    import tensorflow as tf

    generator = np.random.default_rng(7)
    shapes = ((3, 3, 3, 16), (3, 3, 16, 32), (1, 1, 32, 4), (1, 1, 32, 4))
    weights = [tf.Variable(normal(generator, *shape)) for shape in shapes]

    def call(images: Any) -> tuple[Any, Any]:
        found = images
        for weight in weights[:2]:
            found = tf.nn.relu(tf.nn.conv2d(found, weight, 2, "SAME"))
        offsets, scores = (
            tf.reshape(tf.nn.conv2d(found, weight, 1, "SAME"), [-1, 64, 4])
            for weight in weights[2:]
        )
        return _moved(_anchors(8, 0.3), offsets * 0.2), tf.sigmoid(scores)

    return weights, call


def _nms(path: Path) -> None:
    import tensorflow as tf

    weights, heads = _heads()

    def call(images: Any) -> dict[str, Any]:
        boxes, scores = heads(images)
        best = tf.reduce_max(scores[0], -1)
        chosen, scores = tf.image.non_max_suppression_with_scores(boxes[0], best, 10, 0.5, 0.1)
        return {"boxes": tf.gather(boxes[0], chosen), "scores": scores}

    export(path, call, tf.TensorSpec([1, 32, 32, 3], tf.float32, "images"), track=weights)


def _combined_nms(path: Path) -> None:
    import tensorflow as tf

    weights, heads = _heads()

    def call(images: Any) -> dict[str, Any]:
        boxes, scores = heads(images)
        kept = tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 10, 20, 0.5, 0.1)
        return dict(zip(("boxes", "scores", "classes", "count"), kept, strict=True))

    export(path, call, tf.TensorSpec([None, 32, 32, 3], tf.float32, "images"), track=weights)


def _images(count: int) -> Callable[[np.random.Generator], Feeds]:
    return lambda generator: {"images": floats(generator, count, 32, 32, 3)}


_FROZEN: Any = {"inputs": {"inputs": "image_tensor:0"}, "outputs": _TENSORS}
CASES: Mapping[str, Case] = {
    "ssd": Case(_ssd(1), _pictures, slow=True),
    "ssd_v2": Case(_ssd(2), _pictures, slow=True, runs=(ON_ACCELERATOR,)),
    "ssd_frozen": Case(_ssd(1, frozen=True), _pictures, slow=True, **_FROZEN),
    "faster_rcnn": Case(_faster_rcnn, _pictures, slow=True, **_FROZEN),
    "nms": Case(_nms, _images(1)),
    "combined_nms": Case(_combined_nms, _images(2), runs=(ON_ACCELERATOR,)),
}
