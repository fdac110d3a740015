"""Small TensorFlow models that are built as real ones are, with random weights of fixed seeds.

Tests and benchmarks write them to disk. Nothing here imports TensorFlow before it writes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.frameworks.tensorflow import (
    zoo_detection,
    zoo_keras,
    zoo_loops,
    zoo_sequences,
    zoo_text,
)
from tests.frameworks.tensorflow.zoo_graphs import Case, Feeds

SEED = 7
CASES: Mapping[str, Case] = {
    **zoo_keras.CASES,
    **zoo_detection.CASES,
    **zoo_loops.CASES,
    **zoo_sequences.CASES,
    **zoo_text.CASES,
}


def write(name: str, folder: Path) -> Path:
    """The model of that name below `folder`, written if it is not there yet.

    Returns:
        a SavedModel's folder, or a frozen graph's file.
    """
    case = CASES[name]
    path = folder / (case.model or name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        case.write(path)
    return path


def feeds(name: str, number: int = 0) -> Feeds:
    """What to feed the model of that name: by its signature's keys, another for each number."""
    return CASES[name].feeds(np.random.default_rng([SEED, number]))
