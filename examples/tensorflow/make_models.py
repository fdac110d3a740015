"""The models, labels and pictures that the scripts in `original/` ask for, made on this machine.

    python make_models.py --folder /tmp

The detector is one of circles, squares and triangles, trained here within a minute. The
Inception network is the whole one with random weights, so the classes that it names mean nothing.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from detector import cached
from shapes import NAMES, Shape, draw
from ssd import write_saved_model

SSD = "ssd_resnet50_v1_coco/1"
INCEPTION = "SERVING_INCEPTION/SERVING_INCEPTION/1"
LABELS = "coco-labels-paper.txt"
PICTURE = "shapes.jpg"
_SHAPES = [
    Shape(1, 90, 80, 60, (255, 40, 0)),
    Shape(2, 260, 130, 70, (0, 200, 255)),
    Shape(3, 160, 210, 64, (255, 255, 0)),
]


def make_picture(path: Path) -> None:
    """A circle, a square and a triangle as a JPEG file."""
    picture = draw(_SHAPES, 360, 270, np.random.default_rng(3))
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def make_ssd(path: Path) -> None:
    """The detector as the Object Detection API exports one."""
    graph = tf.compat.v1.GraphDef.FromString(cached().read_bytes())
    write_saved_model(graph, path)


def make_inception(path: Path, *, small: bool = False) -> None:
    """InceptionV3 with the signature `predict_images`: files of pictures to names and scores.

    Args:
        small: a quarter of MobileNetV2 in its place, which is converted sooner.
    """
    keras.utils.set_random_seed(0)
    applications = keras.applications
    network = (
        applications.MobileNetV2((299, 299, 3), alpha=0.35, weights=None)
        if small
        else applications.InceptionV3(weights=None)
    )

    def decode(data: Any) -> Any:
        image = tf.image.decode_jpeg(data, channels=3)
        return tf.image.resize(tf.cast(image, tf.float32), [299, 299]) / 127.5 - 1.0

    def predict_images(images: Any) -> dict[str, Any]:
        pictures = tf.map_fn(decode, images, fn_output_signature=tf.float32)
        scores, best = tf.nn.top_k(network(pictures, training=False), 5)
        names = tf.constant([f"class {number}" for number in range(1000)])
        return {"classes": tf.gather(names, best), "scores": scores}

    archive = keras.export.ExportArchive()
    archive.track(network)
    spec = tf.TensorSpec([None], tf.string, "images")
    archive.add_endpoint("predict_images", predict_images, input_signature=[spec])
    archive.write_out(str(path), verbose=False)


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description="Make the models of the original's scripts.")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument(
        "--small", action="store_true", help="a smaller network than Inception, converted sooner"
    )
    options = parser.parse_args()
    folder = options.folder.absolute()
    inception = functools.partial(make_inception, small=options.small)
    for name, make in ((SSD, make_ssd), (INCEPTION, inception), (PICTURE, make_picture)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            make(path)
        print(path)
    labels = folder / LABELS
    labels.write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    print(labels)


if __name__ == "__main__":
    main()
