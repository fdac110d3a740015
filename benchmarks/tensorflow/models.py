"""The models that are measured: as they are used, where the tests' are as small as can be."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tests.frameworks.tensorflow import zoo
from tests.frameworks.tensorflow.zoo_graphs import Case, Feeds, floats, pictures
from tests.frameworks.tensorflow.zoo_keras import application

_ROOT = Path(__file__).parents[2]
_SMALL = 16


def _small(path: Path) -> None:
    import keras

    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(_SMALL, activation="relu") for _ in range(3)]
    model = keras.Sequential([keras.Input((_SMALL,), name="x"), *layers])
    model.export(str(path), verbose=False)


def _frame(generator: np.random.Generator) -> Feeds:
    return {"inputs": pictures(generator, 1, 300, 300)}


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "small": Case(_small, lambda generator: {"x": floats(generator, 1, _SMALL)}),
        "mobilenet_v2": application("MobileNetV2", 224),
        "resnet50": application("ResNet50", 224),
        "inception_v3": application("InceptionV3", 299),
        "ssd": dataclasses.replace(zoo.CASES["ssd"], feeds=_frame),
    }
)
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "small": "three layers of 16",
        "mobilenet_v2": "MobileNetV2, 224x224",
        "resnet50": "ResNet50, 224x224",
        "inception_v3": "InceptionV3, 299x299",
        "ssd": "SSD of the Object Detection API, 300x300",
    }
)


def feeds(name: str) -> Feeds:
    """What that model is fed: one picture or row."""
    return CASES[name].feeds(np.random.default_rng(zoo.SEED))


def write(name: str, folder: Path) -> Path:
    """Write a model in a process of its own, whose memory is given back; its folder."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "benchmarks.tensorflow.models", name, str(path)]
        subprocess.run(words, cwd=_ROOT, capture_output=True, check=True)
    return path


if __name__ == "__main__":
    CASES[sys.argv[1]].write(Path(sys.argv[2]))
