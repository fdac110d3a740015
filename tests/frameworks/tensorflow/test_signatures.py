"""Signatures as TensorFlow reads them, read without it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError, ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.signatures import (
    SAVED_MODEL,
    read_signature,
    read_signatures,
)
from elastic_inference.protocol.tensorflow import NAMES, NUMBERS, carrier_of, name_of


def _save(folder: Path) -> dict[str, Any]:
    """A model with signatures of several kinds; its SignatureDefs by key."""
    import tensorflow as tf

    v1 = tf.compat.v1
    utils = v1.saved_model.utils
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.uint8, [None, None, None, 3], name="image")
        words = v1.placeholder(tf.string, name="words")
        scalar = v1.placeholder(tf.float16, [], name="scalar")
        mean = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3], name="mean")
        length = tf.strings.length(words, name="length")

        def signature(inputs: Any, outputs: Any, method: str) -> Any:
            return v1.saved_model.signature_def_utils.build_signature_def(
                {key: utils.build_tensor_info(each) for key, each in inputs.items()},
                {key: utils.build_tensor_info(each) for key, each in outputs.items()},
                method,
            )

        made = {
            "serving_default": signature({"i": image}, {"m": mean}, "tensorflow/serving/predict"),
            "wörter": signature({"w": words, "s": scalar}, {"l": length, "s": scalar}, "any"),
        }
        for tags in (["serve"], ["serve", "gpu"]):
            builder = v1.saved_model.Builder(str(folder / "-".join(tags)))
            builder.add_meta_graph_and_variables(session, tags, signature_def_map=made)
            builder.save()
    return made


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("saved")
    return folder, _save(folder)


def test_all_that_tensorflow_reads(saved: tuple[Path, dict[str, Any]]) -> None:
    import tensorflow as tf

    folder, made = saved
    found = read_signatures(folder / "serve")
    assert found.keys() == made.keys()
    for key, definition in made.items():
        signature = found[key]
        assert signature.method == definition.method_name
        assert type(definition).FromString(signature.raw) == definition
        assert read_signature(signature.raw) == signature
        for ours, theirs in (
            (signature.inputs, definition.inputs),
            (signature.outputs, definition.outputs),
        ):
            assert ours.keys() == theirs.keys()
            for name, info in theirs.items():
                shape = tf.TensorShape(info.tensor_shape)
                assert ours[name].name == info.name
                assert ours[name].dtype == tf.as_dtype(info.dtype).name
                assert ours[name].shape == (None if shape.rank is None else tuple(shape.as_list()))


def test_tags(saved: tuple[Path, dict[str, Any]]) -> None:
    folder, made = saved
    assert read_signatures(folder / "serve-gpu", ["gpu", "serve"]).keys() == made.keys()
    with pytest.raises(NotFoundError, match="with the tags serve; it has: gpu, serve"):
        read_signatures(folder / "serve-gpu")


def test_no_model(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFoundError, match=r"There is no SavedModel in .*: it has no saved_"):
            read_signatures(folder)


def test_a_damaged_file(tmp_path: Path, saved: tuple[Path, dict[str, Any]]) -> None:
    whole = (saved[0] / "serve" / SAVED_MODEL).read_bytes()
    (tmp_path / SAVED_MODEL).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFormatError, match="is damaged"):
        read_signatures(tmp_path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_file_holds(
    saved: tuple[Path, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    content = bytearray((saved[0] / "serve" / SAVED_MODEL).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("mutated")
    (folder / SAVED_MODEL).write_bytes(content)
    with contextlib.suppress(InvalidRequestError, NotFoundError):
        read_signatures(folder)


def test_types_have_tensorflow_s_numbers() -> None:
    import tensorflow as tf

    for name, number in NUMBERS.items():
        assert tf.as_dtype(name).as_datatype_enum == number
        assert name_of(number) == name_of(number + 100) == NAMES[number] == name
        if name not in {"resource", "variant", "bfloat16"}:
            assert carrier_of(name) == np.dtype(tf.as_dtype(name).as_numpy_dtype)
    for number in (0, 13, 99, 200, -1):
        with pytest.raises(InvalidRequestError, match="not known"):
            name_of(number)
