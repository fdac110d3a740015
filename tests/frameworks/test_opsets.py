"""The operator sets of a model are read without parsing it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from elastic_inference.frameworks.onnxruntime.opsets import read_opsets, unknown_domains
from tests.frameworks.models import MODELS, add


@pytest.mark.parametrize("name", MODELS)
def test_the_scan_agrees_with_onnx(name: str, tmp_path: Path) -> None:
    model, _ = MODELS[name]()
    expected = {item.domain: item.version for item in onnx.load_from_string(model).opset_import}
    assert read_opsets(model) == expected
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert read_opsets(path) == expected


@given(st.dictionaries(st.text(max_size=20), st.integers(0, 2**40), max_size=6))
def test_any_domains_are_read(domains: dict[str, int]) -> None:
    graph = helper.make_graph([], "g", [], [])
    opsets = [helper.make_opsetid(*item) for item in domains.items()]
    model = helper.make_model(graph, opset_imports=opsets)
    assert read_opsets(model.SerializeToString()) == domains


@given(st.binary(max_size=200))
def test_garbage_never_does_worse_than_a_value_error(data: bytes) -> None:
    try:
        opsets = read_opsets(data)
    except ValueError:
        return
    assert all(isinstance(domain, str) for domain in opsets)


def test_a_cut_model_is_refused() -> None:
    with pytest.raises(ValueError, match="ONNX model"):
        read_opsets(add()[:-1])


def test_domains_that_are_missing_or_newer_are_named() -> None:
    known = {"": 20, "ai.onnx.ml": 5}
    assert unknown_domains({"": 20, "ai.onnx.ml": 3}, known) == []
    assert unknown_domains({"": 21, "ai.onnx": 20, "mine": 1}, known) == ["", "mine"]
