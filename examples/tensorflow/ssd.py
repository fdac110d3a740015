"""A single-shot detector in the form that TensorFlow's Object Detection API gives one.

The graph takes `image_tensor` (uint8, any batch and size) and gives `detection_boxes`,
`detection_scores`, `detection_classes` and `num_detections`; the API's own graphs can take its
place everywhere in these examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = Mapping[str, Any]
INPUTS = {"inputs": "image_tensor:0"}
OUTPUTS = {
    name: f"{name}:0"
    for name in ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
}
# A box's offsets are counted in these parts of its anchor.
_SCALES = (10.0, 10.0, 5.0, 5.0)
# Name, size of the kernel, stride, channels. Boxes are predicted from two of them.
_LAYERS = (
    ("conv1", 3, 2, 16),
    ("conv2", 3, 2, 32),
    ("conv3", 3, 2, 48),
    ("map1", 3, 1, 48),
    ("conv4", 3, 2, 64),
    ("map2", 3, 1, 64),
)


@dataclass(frozen=True, slots=True)
class Detector:
    """How large a detector is and what it gives.

    Attributes:
        classes: how many kinds of things it tells apart.
        side: pictures are resized to so many pixels in both directions.
        sizes: of the anchors on each map, as parts of the picture.
        threshold: the least score of a detection.
        most: how many detections there may be, of one class and of all together.
    """

    classes: int = 3
    side: int = 128
    sizes: tuple[tuple[float, ...], ...] = ((0.12, 0.18), (0.24, 0.32))
    threshold: float = 0.5
    most: int = 20

    @property
    def anchors(self) -> Array:
        """Middle (y, x), height and width of every anchor."""
        found = []
        for stride, sizes in zip((8, 16), self.sizes, strict=True):
            places = (np.arange(self.side // stride) + 0.5) * stride / self.side
            y, x = np.meshgrid(places, places, indexing="ij")
            for_each = [np.stack([y, x, 0 * y + size, 0 * x + size], -1) for size in sizes]
            found.append(np.stack(for_each, 2).reshape(-1, 4))
        return np.concatenate(found).astype(np.float32)

    def random_weights(self, seed: int = 0) -> dict[str, Array]:
        """Weights from which training may start."""
        generator = np.random.default_rng(seed)
        weights: dict[str, Array] = {}
        before = 3
        channels = {}
        for name, kernel, _, after in _LAYERS:
            spread = (2 / (kernel * kernel * before)) ** 0.5
            shape = (kernel, kernel, before, after)
            weights[name] = (generator.standard_normal(shape) * spread).astype(np.float32)
            weights[f"{name}/bias"] = np.zeros(after, np.float32)
            before = channels[name] = after
        for name, sizes in zip(("map1", "map2"), self.sizes, strict=True):
            for head, values in (("boxes", 4), ("classes", self.classes + 1)):
                shape = (3, 3, channels[name], len(sizes) * values)
                start = generator.standard_normal(shape) * 0.02
                weights[f"{name}/{head}"] = start.astype(np.float32)
                weights[f"{name}/{head}/bias"] = np.zeros(shape[-1], np.float32)
        return weights

    def predict(self, images: Any, weights: Weights) -> tuple[Any, Any]:
        """Of prepared images: offsets and logits for each anchor; logit 0 is that of no thing."""
        boxes, classes = [], []
        found = images
        for name, _, stride, _ in _LAYERS:
            with tf.name_scope(f"FeatureExtractor/{name}"):
                found = tf.nn.relu(_convolve(found, weights, name, stride))
            if name.startswith("map"):
                with tf.name_scope(f"BoxPredictor/{name}"):
                    heads = [_convolve(found, weights, f"{name}/{head}", 1) for head in _HEADS]
                    boxes.append(_flat(heads[0], 4))
                    classes.append(_flat(heads[1], self.classes + 1))
        return tf.concat(boxes, 1), tf.concat(classes, 1)

    def graph(self, weights: Weights) -> Any:
        """The GraphDef of the trained detector, with loops as TensorFlow 1 has them."""
        v1 = tf.compat.v1
        v2 = v1.control_flow_v2_enabled()
        v1.disable_control_flow_v2()
        try:
            with tf.Graph().as_default() as graph:
                self.add(weights)
                return graph.as_graph_def()
        finally:
            if v2:
                v1.enable_control_flow_v2()

    def add(self, weights: Weights) -> None:
        """Add the detector to the default graph."""
        image = tf.compat.v1.placeholder(tf.uint8, [None, None, None, 3], "image_tensor")
        with tf.name_scope("Preprocessor"):
            images = tf.map_fn(self.prepare, tf.cast(image, tf.float32))
        offsets, logits = self.predict(images, weights)
        with tf.name_scope("Postprocessor"):
            boxes = self.decode(offsets)
            scores = tf.nn.softmax(logits)[..., 1:]
            kept = tf.map_fn(
                lambda each: self.choose(*each),
                (boxes, scores),
                fn_output_signature=(tf.float32, tf.float32, tf.float32, tf.int32),
            )
        for name, tensor in zip(OUTPUTS, kept, strict=True):
            tf.identity(tf.cast(tensor, tf.float32), name)

    def prepare(self, images: Any) -> Any:
        """Resize one picture or several, and bring them from 0 … 255 to -1 … 1."""
        resized = tf.compat.v1.image.resize_images(images, [self.side, self.side])
        return resized * (2.0 / 255.0) - 1.0

    def decode(self, offsets: Any) -> Any:
        """Boxes (top, left, bottom, right) from what is predicted for the anchors."""
        anchors = self.anchors
        moved = offsets / _SCALES
        middle = moved[..., :2] * anchors[:, 2:] + anchors[:, :2]
        half = tf.exp(moved[..., 2:]) * anchors[:, 2:] / 2
        return tf.concat([middle - half, middle + half], -1)

    def encode(self, boxes: Array) -> Array:
        """What is to be predicted for each anchor so that its box is that one."""
        anchors = self.anchors
        middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        moved = (middle - anchors[:, :2]) / anchors[:, 2:]
        grown = np.log(np.maximum(size, 1e-6) / anchors[:, 2:])
        return (np.concatenate([moved, grown], 1) * _SCALES).astype(np.float32)

    def choose(self, boxes: Any, scores: Any) -> tuple[Any, Any, Any, Any]:
        """The detections of one picture: best first, padded with zeros, and how many there are."""
        of_each = [self._choose_of(boxes, scores[:, each], each) for each in range(self.classes)]
        boxes, scores, classes = (tf.concat(parts, 0) for parts in zip(*of_each, strict=True))
        count = tf.minimum(tf.shape(scores)[0], self.most)
        best, order = tf.nn.top_k(scores, count)
        pad = [[0, self.most - count]]
        return (
            tf.clip_by_value(tf.pad(tf.gather(boxes, order), [*pad, [0, 0]]), 0.0, 1.0),
            tf.pad(best, pad),
            tf.pad(tf.gather(classes, order), pad),
            count,
        )

    def _choose_of(self, boxes: Any, scores: Any, number: int) -> tuple[Any, Any, Any]:
        above = tf.reshape(tf.where(scores > self.threshold), [-1])
        boxes, scores = tf.gather(boxes, above), tf.gather(scores, above)
        chosen = tf.image.non_max_suppression(boxes, scores, self.most, 0.5)
        scores = tf.gather(scores, chosen)
        classes = tf.fill(tf.shape(scores), float(number + 1))
        return tf.gather(boxes, chosen), scores, classes


_HEADS = ("boxes", "classes")


def _convolve(images: Any, weights: Weights, name: str, stride: int) -> Any:
    found = tf.nn.conv2d(images, weights[name], stride, "SAME")
    return tf.nn.bias_add(found, weights[f"{name}/bias"])


def _flat(found: Any, values: int) -> Any:
    height, width, channels = found.shape[1:]
    return tf.reshape(found, [-1, height * width * channels // values, values])


def write_saved_model(graph: Any, path: Path) -> None:
    """Write such a graph as a SavedModel, as the Object Detection API exports one."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as opened, v1.Session() as session:
        tf.import_graph_def(graph, name="")
        inputs, outputs = (
            {
                key: v1.saved_model.build_tensor_info(opened.get_tensor_by_name(name))
                for key, name in names.items()
            }
            for names in (INPUTS, OUTPUTS)
        )
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            inputs, outputs, "tensorflow/serving/predict"
        )
        builder = v1.saved_model.builder.SavedModelBuilder(str(path))
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}
        )
        builder.save()
