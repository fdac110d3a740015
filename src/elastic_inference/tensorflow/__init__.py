"""TensorFlow models on an accelerator.

    from elastic_inference.tensorflow import EIPredictor

    predict = EIPredictor("saved_model/1")
    outputs = predict({"inputs": images})

`accelerate` takes functions, modules and Keras models as they are in memory, `EIKerasModel`
what uses a Keras model's `predict`. Importing this loads no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elastic_inference.frameworks.tensorflow.explanation import explain
    from elastic_inference.frameworks.tensorflow.functions import accelerate
    from elastic_inference.frameworks.tensorflow.keras import EIKerasModel
    from elastic_inference.frameworks.tensorflow.predictor import EIPredictor

__all__ = ["EIKerasModel", "EIPredictor", "accelerate", "explain"]

_HOMES = {
    "EIKerasModel": "keras",
    "EIPredictor": "predictor",
    "accelerate": "functions",
    "explain": "explanation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"elastic_inference.frameworks.tensorflow.{_HOMES[name]}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
