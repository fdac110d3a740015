"""What is fed is cast and checked as TensorFlow's sessions do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.feeds import Feeds, fits, in_words
from elastic_inference.frameworks.tensorflow.plan import Tensor

TENSORS = {
    "image": Tensor("image:0", "uint8", (None, 2)),
    "any": Tensor("any:0", "float32", None),
    "count": Tensor("count:0", "int64", ()),
    "words": Tensor("words:0", "string", (None,)),
    "narrow": Tensor("narrow:0", "bfloat16", (None,)),
}
FEEDS = Feeds(TENSORS)


def one(key: str, value: Any) -> Any:
    return FEEDS.arrays({key: value})[key]


def test_arrays_of_the_dtype_go_as_they_are() -> None:
    image = np.zeros((1, 2), np.uint8)
    assert one("image", image) is image


@pytest.mark.parametrize(
    "value",
    [np.array([[1.0, 2.9]]), [[1, 2]], np.array([[1, 2]], np.int64), ((1, 2),)],
    ids=["float64", "list", "int64", "tuple"],
)
def test_other_values_are_cast(value: Any) -> None:
    array = one("image", value)
    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2]]


def test_scalars_and_strings() -> None:
    assert one("count", 3).dtype == np.int64
    assert one("count", np.int32(3)).shape == ()
    assert one("words", ["a", b"b"]).tolist() == ["a", b"b"]
    assert one("any", 2).dtype == np.float32


def test_eager_tensors() -> None:
    import tensorflow as tf

    assert one("image", tf.constant([[1.0, 2.0]])).tolist() == [[1, 2]]
    assert one("words", tf.constant(["a"])).tolist() == [b"a"]
    assert one("any", tf.Variable(1.5)) == 1.5
    narrow = one("narrow", tf.constant([1.0], tf.bfloat16))
    assert narrow.view(np.uint16).tolist() == [0x3F80]


def test_none_is_not_given() -> None:
    assert FEEDS.arrays({"image": None, "count": 1}).keys() == {"count"}


@pytest.mark.parametrize(
    ("key", "value", "kind", "message"),
    [
        ("other", 1, ValueError, r"Got unexpected keys in input_dict: \{'other'\}"),
        ("image", np.zeros((1, 3)), ValueError, r"Cannot feed value of shape \(1, 3\) for Tensor"),
        ("image", np.zeros(2), ValueError, r"which has shape \(None, 2\)"),
        ("image", [["a", "b"]], ValueError, "invalid literal"),
        ("image", [[1, 2], [3]], ValueError, "inhomogeneous"),
        ("image", object(), TypeError, "cannot be made UINT8"),
        ("count", 2**70, (ValueError, TypeError), "cannot be made INT64"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        one(key, value)
    assert isinstance(caught.value, InvalidRequestError)


def test_a_whole_number_that_changes_is_refused() -> None:
    feeds = Feeds({"small": Tensor("small:0", "int32", ())})
    assert feeds.arrays({"small": 7})["small"] == 7
    with pytest.raises((TypeError, ValueError), match="small"):
        feeds.arrays({"small": 2**40})


def test_shapes() -> None:
    assert fits((1, 2), None)
    assert fits((1, 2), (None, 2))
    assert not fits((1, 2), (None,))
    assert not fits((1, 2), (1, 3))
    assert [in_words(shape) for shape in (None, (), (3,), (None, 2))] == [
        "<unknown>",
        "()",
        "(3,)",
        "(None, 2)",
    ]
