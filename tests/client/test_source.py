"""Models as applications have them: paths, bytes, open files, external data."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from elastic_inference.client.external_data import locations
from elastic_inference.client.source import MAIN, files_of
from elastic_inference.errors import InvalidRequestError, ModelFormatError


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _model_with_external_data(path: Path, location: str) -> None:
    weights = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])],
        [weights],
    )
    onnx.save_model(
        helper.make_model(graph),
        str(path),
        save_as_external_data=True,
        location=location,
        size_threshold=0,
    )


def test_the_same_model_in_every_form(tmp_path: Path) -> None:
    content = b"not really a model" * 100
    path = tmp_path / "any name.onnx"
    path.write_bytes(content)
    forms: list[Any] = [
        path,
        str(path),
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        {MAIN: content},
        {MAIN: path},
    ]
    for form in forms:
        model = files_of(form)
        assert model.main == MAIN
        assert {name: blob.sha256 for name, blob in model.files.items()} == {MAIN: _sha(content)}
        assert b"".join(model.files[MAIN].read(4, 6)) == content[4:10]


@pytest.mark.parametrize("location", ["weights.bin", "a folder/weights.bin", "w" * 200])
def test_external_data_beside_the_model(tmp_path: Path, location: str) -> None:
    (tmp_path / "a folder").mkdir()
    _model_with_external_data(tmp_path / "m.onnx", location)
    model = files_of(tmp_path / "m.onnx")
    assert set(model.files) == {MAIN, location}
    weights = (tmp_path / location).read_bytes()
    assert model.files[location].sha256 == _sha(weights)


def test_external_data_named_as_the_main_file(tmp_path: Path) -> None:
    _model_with_external_data(tmp_path / "m.onnx", MAIN)
    model = files_of(tmp_path / "m.onnx")
    assert len(model.files) == 2
    assert model.main != MAIN
    assert model.files[model.main].sha256 == _sha((tmp_path / "m.onnx").read_bytes())


@pytest.mark.parametrize("location", ["../secret.txt", "link/secret.txt", "/etc/hostname"])
def test_external_data_outside_is_not_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path)
    _model_with_external_data(folder / "m.onnx", "weights.bin")
    content = (folder / "m.onnx").read_bytes()
    entry = b"\x0a\x08location\x12"
    assert content.count(entry) == 1
    hostile = content + b"\x32" + entry + bytes([len(location)]) + location.encode()
    (folder / "m.onnx").write_bytes(hostile)
    assert set(files_of(folder / "m.onnx").files) == {MAIN, "weights.bin"}


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a" * 100)
    first = files_of(path).files[MAIN].sha256
    path.write_bytes(b"b" * 100)
    assert files_of(path).files[MAIN].sha256 != first


def test_what_is_no_model(tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.touch()
    for nothing in (b"", empty, {}, {MAIN: b""}):
        with pytest.raises(ModelFormatError, match="empty"):
            files_of(nothing)
    with pytest.raises(InvalidRequestError, match="No such file"):
        files_of(tmp_path / "missing.onnx")
    with pytest.raises(InvalidRequestError, match="directory"):
        files_of(tmp_path)
    with pytest.raises(InvalidRequestError, match="int"):
        files_of(5)  # type: ignore[arg-type]  # what a caller may still do


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a" * 100)
    blob = files_of(path).files[MAIN]
    path.write_bytes(b"a")
    with pytest.raises(InvalidRequestError, match="shorter"):
        b"".join(blob.read(0, 100))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_locations_of_any_bytes(before: bytes, after: bytes) -> None:
    assert isinstance(locations(before + after), frozenset)
    entry = b"\x0a\x08location\x12\x05a.bin"
    # Where the bytes are no protobuf, or a field that holds the entry whole, it is found.
    field = b"\x0a" + bytes([len(entry)]) + entry
    assert "a.bin" in locations(field + b"\xff" + before)


def test_locations_beside_large_weights() -> None:
    rng = np.random.default_rng(1)
    inline = numpy_helper.from_array(rng.random(100_000, np.float32), "inline")
    outside = numpy_helper.from_array(rng.random(10, np.float32), "outside")
    onnx.external_data_helper.set_external_data(outside, "weights.bin")
    outside.ClearField("raw_data")
    # A large tensor's entry, beside other large fields.
    strange = numpy_helper.from_array(rng.random(100_000, np.float32), "strange")
    onnx.external_data_helper.set_external_data(strange, "folder/more.bin")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [onnx.TensorProto.FromString(outside.SerializeToString())],
    )
    branch.initializer[0].name = "inner"
    branch.initializer[0].external_data[0].value = "branch.bin"
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        "g",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [inline, outside, strange],
    )
    content = helper.make_model(graph).SerializeToString()
    assert locations(content) == {"weights.bin", "folder/more.bin", "branch.bin"}
    # A file cut in the middle is searched whole.
    assert "weights.bin" in locations(content[:-3])
