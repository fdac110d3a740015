"""Plans run: segments here and there, what of them is needed, and what crosses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from elastic_inference.client import Accelerator
from elastic_inference.errors import ConfigurationError, InvalidRequestError
from elastic_inference.frameworks.tensorflow import plan
from elastic_inference.frameworks.tensorflow.execution import Execution, as_fed
from elastic_inference.frameworks.tensorflow.plan import Plan, Segment, Tensor
from tests.accelerator.graphs import identity, model, value_info

WORDS = Tensor("words:0", "string", (None,), "words:0")
NUMBERS = Tensor("numbers:0", "float32", (None,), "numbers:0")
DOUBLED = Tensor("doubled:0", "float32", (None,), "y")
SUM = Tensor("sum:0", "float32", (), "sum:0")


def _graph(folder: Path, file: str, build: Any) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        build(tf.compat.v1, tf)
    (folder / file).write_bytes(graph.as_graph_def().SerializeToString())


def _double(folder: Path) -> Segment:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    described = [value_info(name, TensorProto.FLOAT, ("n",)) for name in ("x", "y")]
    (folder / "1.onnx").write_bytes(model(nodes, described[:1], described[1:]))
    taken = Tensor("numbers:0", "float32", (None,), "x")
    return Segment("accelerator", "onnx", "1.onnx", (taken,), (DOUBLED,), reasons=("it converts",))


@pytest.fixture
def parts(tmp_path: Path) -> Plan:
    """Words become numbers here, are doubled there, and added up here."""

    def parse(v1: Any, tf: Any) -> None:
        words = v1.placeholder(tf.string, [None], name="words")
        tf.strings.to_number(words, name="numbers")

    def add(v1: Any, tf: Any) -> None:
        tf.reduce_sum(v1.placeholder(tf.float32, [None], name="given"), name="sum")

    _graph(tmp_path, "0.pb", parse)
    _graph(tmp_path, "2.pb", add)
    given = Tensor("doubled:0", "float32", (None,), "given:0")
    return Plan(
        tmp_path,
        {"words": WORDS},
        {"doubled": DOUBLED, "sum": SUM, "words": WORDS},
        "tensorflow/serving/predict",
        (
            Segment("instance", "tensorflow", "0.pb", (WORDS,), (NUMBERS,)),
            _double(tmp_path),
            Segment("instance", "tensorflow", "2.pb", (given,), (SUM,)),
        ),
    )


def test_segments_run_in_order(parts: Plan, target: Accelerator) -> None:
    parts.write()
    read = plan.read(parts.folder)
    assert read == parts
    loaded = Execution(read, target)
    words = np.array([b"1", b"2.5", b"3"], object)
    results = loaded.run({"words": words})
    assert results["doubled"].tolist() == [2, 5, 6]
    assert results["sum"] == 13
    assert results["words"] is words
    assert loaded.run({"words": words}, ["words"]) == {"words": words}
    assert list(loaded.run({"words": words}, ["doubled"])) == ["doubled"]
    loaded.close()


def test_many_threads(parts: Plan, target: Accelerator) -> None:
    loaded = Execution(parts, target)

    def work(number: int) -> None:
        for outputs in (None, ["sum"], ["doubled"]):
            results = loaded.run({"words": np.array([str(number)] * 3, object)}, outputs)
            assert results.get("sum", 6 * number) == 6 * number

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(24)))
    loaded.close()


def test_mistakes(parts: Plan, target: Accelerator) -> None:
    loaded = Execution(parts, target)
    with pytest.raises(InvalidRequestError, match="The input 'words' is missing"):
        loaded.run({})
    with pytest.raises(InvalidRequestError, match="no output 'none'"):
        loaded.run({"words": np.array([b"1"], object)}, ["none"])
    with pytest.raises(InvalidRequestError, match="could not correctly convert string: one"):
        loaded.run({"words": np.array([b"one"], object)})
    assert loaded.run({"words": np.array([b"4"], object)})["sum"] == 8
    loaded.close()
    with pytest.raises(ConfigurationError, match="none is attached"):
        Execution(parts, None)


def test_a_damaged_plan(parts: Plan) -> None:
    parts.write()
    (parts.folder / "1.onnx").unlink()
    with pytest.raises(InvalidRequestError, match=r"lacks its file 1\.onnx"):
        plan.read(parts.folder)
    for text in ("", "{}", "[]", '{"format": 0}', '{"format": 1, "inputs": 3}'):
        (parts.folder / plan.DOCUMENT).write_text(text)
        with pytest.raises(InvalidRequestError, match="cannot be read"):
            plan.read(parts.folder)


def test_bfloat16_crosses(tmp_path: Path, target: Accelerator) -> None:
    (tmp_path / "0.onnx").write_bytes(identity(TensorProto.BFLOAT16))
    taken = Tensor("x:0", "bfloat16", (None,), "x")
    given = Tensor("y:0", "bfloat16", (None,), "y")
    segment = Segment("accelerator", "onnx", "0.onnx", (taken,), (given,))
    loaded = Execution(Plan(tmp_path, {"x": taken}, {"y": given}, "", (segment,)), target)
    values = np.array([1, -2.5, 3.140625], ml_dtypes.bfloat16)
    for fed in (values, values.view(np.uint16)):
        assert loaded.run({"x": fed})["y"].tolist() == values.tolist()
    loaded.close()


@pytest.mark.parametrize(
    ("value", "dtype", "cast"),
    [
        (np.array([1.9, 254.0]), "uint8", np.array([1, 254], np.uint8)),
        ([1, 2], "float32", np.array([1, 2], np.float32)),
        (3, "int64", np.array(3)),
        (["a", b"b"], "string", np.array(["a", b"b"], object)),
    ],
)
def test_feeds_are_cast(value: Any, dtype: str, cast: Any) -> None:
    array = as_fed(value, Tensor("x:0", dtype, None))
    assert array.dtype == cast.dtype
    assert array.tolist() == cast.tolist()


def test_feeds_are_rounded_to_bfloat16() -> None:
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    values[:3] = np.inf, -np.inf, 0
    array = as_fed(values, Tensor("x:0", "bfloat16", None))
    assert array.tolist() == values.astype(ml_dtypes.bfloat16).view(np.uint16).tolist()
    assert np.isnan(as_fed(np.nan, Tensor("x:0", "bfloat16", ())).view(ml_dtypes.bfloat16))


def test_feeds_that_cannot_be_cast() -> None:
    with pytest.raises(InvalidRequestError, match="cannot be made FP32"):
        as_fed("text", Tensor("x:0", "float32", None))
    with pytest.raises(InvalidRequestError, match="cannot be passed"):
        as_fed(1, Tensor("x:0", "resource", None))
