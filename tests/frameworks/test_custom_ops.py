"""Operators from the application's own libraries run here, the rest on the accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper

from elastic_inference.client import Accelerator
from elastic_inference.frameworks.onnxruntime.partitioned import PartitionedModel
from elastic_inference.onnxruntime import InferenceSession, SessionOptions
from tests.frameworks.models import build, node, value, weight

extensions = pytest.importorskip("onnxruntime_extensions")

CONTRIB = {"ai.onnx.contrib": 1}


def custom(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(
        kind, inputs.split(), outputs.split(), domain="ai.onnx.contrib", **attributes
    )


def with_library(options: Any) -> Any:
    options.register_custom_ops_library(extensions.get_library_path())
    return options


def reference(model: bytes) -> Any:
    options = with_library(onnxruntime.SessionOptions())
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options)


def opened(model: bytes, target: Accelerator) -> tuple[Any, str]:
    """A session, and its segments as letters."""
    session = InferenceSession(model, with_library(SessionOptions()), accelerator=target)
    runner = session._runner
    assert isinstance(runner, PartitionedModel)
    return session, "".join("R" if segment.remote else "L" for segment in runner.segments)


def embedding(source: str, result: str) -> list[Any]:
    """Numbers of strings -> rows of a table -> a dense layer."""
    return [
        node("Mod", f"{source} size", "bounded"),
        node("Gather", "table bounded", "rows"),
        node("MatMul", "rows w", result),
    ]


WEIGHTS = [
    weight("table", 64, 8),
    weight("w", 8, 4, seed=3),
    onnx.numpy_helper.from_array(np.array(64, np.int64), "size"),
    onnx.numpy_helper.from_array(np.array([64], np.int64), "buckets"),
]
TEXTS = np.array(["hello world", "ünïcode", ""], object)


def test_text_is_prepared_here_and_computed_there(target: Accelerator) -> None:
    model = build(
        [
            custom("StringUpper", "x", "u"),
            custom("StringToHashBucketFast", "u buckets", "n"),
            *embedding("n", "y"),
        ],
        [value("x", T.STRING, ["n"])],
        [value("y", T.FLOAT, None), value("u", T.STRING, ["n"])],
        WEIGHTS,
        domains=CONTRIB,
    )
    session, segments = opened(model, target)
    assert segments == "LR"
    before = target.usage()["requests"]
    got, upper = session.run(None, {"x": TEXTS})
    assert target.usage()["requests"] == before + 1
    expected, expected_upper = reference(model).run(None, {"x": TEXTS})
    np.testing.assert_array_equal(got, expected)
    assert upper.tolist() == expected_upper.tolist()
    assert [arg.name for arg in session.get_inputs()] == ["x"]
    assert session.get_inputs()[0].type == "tensor(string)"


def test_many_crossings(target: Accelerator) -> None:
    model = build(
        [
            node("MatMul", "x w", "a"),
            custom("NegPos", "a", "b c"),
            node("MatMul", "c w", "d"),
            custom("NegPos", "d", "e f"),
            node("MatMul", "f w", "y"),
        ],
        [value("x", T.FLOAT, ["n", 8])],
        [value("y", T.FLOAT, None), value("b", T.FLOAT, None)],
        [weight("w", 8, 8)],
        domains=CONTRIB,
    )
    session, segments = opened(model, target)
    assert segments == "RLRLR"
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    for got, expected in zip(
        session.run(None, {"x": x}), reference(model).run(None, {"x": x}), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_external_weights_and_a_custom_operator(target: Accelerator, tmp_path: Path) -> None:
    model = build(
        [custom("NegPos", "x", "a b"), node("MatMul", "b w", "y")],
        [value("x", T.FLOAT, ["n", 8])],
        [value("y", T.FLOAT, None)],
        [weight("w", 8, 8)],
        domains=CONTRIB,
    )
    path = tmp_path / "model.onnx"
    onnx.save(
        onnx.load_from_string(model),
        path,
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
    )
    session = InferenceSession(path, with_library(SessionOptions()), accelerator=target)
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    np.testing.assert_array_equal(
        session.run(None, {"x": x})[0], reference(model).run(None, {"x": x})[0]
    )


def test_a_model_that_uses_nothing_custom_goes_whole(target: Accelerator) -> None:
    model = build(
        [node("MatMul", "x w", "y")],
        [value("x", T.FLOAT, ["n", 8])],
        [value("y")],
        [weight("w", 8, 8)],
        domains=CONTRIB,
    )
    session = InferenceSession(model, with_library(SessionOptions()), accelerator=target)
    assert not isinstance(session._runner, PartitionedModel)
    assert session._runner is not None


def test_a_model_of_custom_operators_alone_stays_here(target: Accelerator) -> None:
    model = build(
        [custom("StringUpper", "x", "y")],
        [value("x", T.STRING, ["n"])],
        [value("y", T.STRING, ["n"])],
        domains=CONTRIB,
    )
    with pytest.warns(RuntimeWarning, match="nothing that the accelerator runs"):
        session = InferenceSession(model, with_library(SessionOptions()), accelerator=target)
    assert session.run(None, {"x": TEXTS})[0].tolist() == ["HELLO WORLD", "üNïCODE", ""]


def test_without_the_library_it_is_onnxruntimes_error(target: Accelerator) -> None:
    model = build(
        [custom("NegPos", "x", "a b"), node("MatMul", "b w", "y")],
        [value("x", T.FLOAT, ["n", 8])],
        [value("y", T.FLOAT, None)],
        [weight("w", 8, 8)],
        domains=CONTRIB,
    )
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever ONNX Runtime raises
        onnxruntime.InferenceSession(model)
    with pytest.raises(expected.type):
        InferenceSession(model, SessionOptions(), accelerator=target)
