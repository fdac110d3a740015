"""What runs where is told as a text and as JSON, and by `ei explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.cli import explain as command
from elastic_inference.cli.main import main
from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.explain import describe, explain
from elastic_inference.frameworks.tensorflow.plan import Plan, Segment, Tensor
from elastic_inference.frameworks.tensorflow.source import Source

WORDS = Tensor("words:0", "string", None, "words:0")
PIXELS = Tensor("pixels:0", "uint8", (None, 2), "pixels:0")
SCORES = Tensor("scores:0", "float32", (None, 2), "scores:0")
HERE = Segment(
    "instance", "tensorflow", "0.pb", (WORDS,), (PIXELS,), "", {"DecodeJpeg": 1},
    ("DecodeJpeg is not among the operators that accelerators run",), 2048,
)  # fmt: skip
MANY = {f"Operator{number}": number for number in range(1, 13)}
THERE = Segment(
    "accelerator", "onnx", "1.onnx", (PIXELS,), (SCORES,), "", MANY, ("it converts",), 3 << 20
)


def _plan(*segments: Segment) -> Plan:
    return Plan(Path("plans/a"), {"w": WORDS}, {"s": SCORES}, "", segments, made_with={"onnx": "1"})


def test_each_segment_has_its_place_reasons_and_bytes() -> None:
    text = explain(_plan(HERE, THERE))
    assert "inputs   w: string[...]" in text
    assert "outputs  s: float32[?, 2]" in text
    assert "1. on the instance, in TensorFlow: 1 nodes\n   DecodeJpeg\n" in text
    assert "because DecodeJpeg is not among" in text
    assert "2. on the accelerator, in ONNX Runtime: 78 nodes, 3.0 MiB cross per call" in text
    assert "Operator12 x12, Operator11 x11" in text
    assert "and 4 other operators" in text
    assert "needs no TensorFlow" not in text


def test_what_needs_no_tensorflow_is_told() -> None:
    assert "needs no TensorFlow" in explain(_plan(THERE))
    assert "Nothing is computed" in explain(_plan())


def test_the_same_as_json() -> None:
    document = json.loads(json.dumps(describe(_plan(HERE, THERE))))
    assert [each["place"] for each in document["segments"]] == ["instance", "accelerator"]
    assert document["segments"][1]["operators"] == MANY
    assert document["segments"][1]["crossing_bytes"] == 3 << 20
    assert document["inputs"]["w"] == {"name": "words:0", "dtype": "string", "shape": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `ei explain` has prepared."""
    found: list[Any] = []

    def prepare(sources: list[Source], *, refresh: bool) -> list[Plan]:
        found.extend([*sources, refresh])
        return [_plan(THERE)]

    monkeypatch.setattr(command, "prepare", prepare)
    return found


def test_the_command_takes_a_signature(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "model", "--signature", "other", "--tags", "serve,gpu"]) == 0
    assert asked == [Source(Path("model"), ("serve", "gpu"), "other"), False]
    assert "ONNX Runtime" in capsys.readouterr().out
    assert main(["explain", "model", "--refresh", "-o", "json"]) == 0
    assert asked[2:] == [Source(Path("model")), True]
    assert json.loads(capsys.readouterr().out)["segments"][0]["engine"] == "onnx"


def test_the_command_takes_tensors(asked: list[Any]) -> None:
    words = ["explain", "g.pb", "--input", "x=a/x:0", "--output-tensor", "y=b:1"]
    assert main(words) == 0
    assert asked[0] == Source(
        Path("g.pb"), signature="", inputs={"x": "a/x:0"}, outputs={"y": "b:1"}
    )


def test_tensors_without_a_key_are_refused(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "g.pb", "--input", "x:0"]) == 2
    assert "KEY=TENSOR" in capsys.readouterr().err
    assert asked == []
    with pytest.raises(InvalidRequestError):
        command._names("--input", ["=x"])
