"""The original's modules and TensorFlow 1's names, by one import, without `ei run`.

    import elastic_inference.tensorflow.compat
    from ei_for_tf.python.predictor.ei_predictor import EIPredictor

Importing this imports TensorFlow.
"""

from __future__ import annotations

import sys
from types import ModuleType

import tensorflow

from elastic_inference.frameworks.tensorflow import shims

shims.install(tensorflow)
if "ei_for_tf" not in sys.modules:
    _original = ModuleType("ei_for_tf")
    _original.__path__ = []
    shims.fill(_original)
    sys.modules["ei_for_tf"] = _original
