"""The three pre-trained models of the demo's application."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from elastic_inference.client import Accelerator
from elastic_inference.onnxruntime import InferenceSession

_found = importlib.util.find_spec("rapidocr_onnxruntime")
pytestmark = pytest.mark.skipif(
    _found is None, reason="rapidocr-onnxruntime, which has the models, is not installed"
)
SHAPES = {
    "ch_PP-OCRv4_det_infer.onnx": [(1, 3, 64, 96), (1, 3, 320, 480)],
    "ch_PP-OCRv4_rec_infer.onnx": [(1, 3, 48, 120), (3, 3, 48, 320)],
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": [(1, 3, 48, 192), (6, 3, 48, 192)],
}


@pytest.mark.parametrize("name", SHAPES)
def test_results_are_the_local_ones_bit_for_bit(target: Accelerator, name: str) -> None:
    assert _found is not None
    path = str(Path(str(_found.origin)).parent / "models" / name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    reference: Any = onnxruntime.InferenceSession(path, options)
    session = InferenceSession(path, accelerator=target)
    given = session.get_inputs()[0].name
    for shape in SHAPES[name]:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        (got,), (expected,) = session.run(None, {given: x}), reference.run(None, {given: x})
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert got.tobytes() == expected.tobytes()
    assert session.get_modelmeta().custom_metadata_map == (
        reference.get_modelmeta().custom_metadata_map
    )
