"""Values as sessions give them, and arrays of one element as numbers."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest

from elastic_inference.frameworks.tensorflow.results import SingleValue, finish


def single(value: float, dtype: type = np.float32, shape: tuple[int, ...] = (1,)) -> SingleValue:
    result = finish({"value": np.full(shape, value, dtype)})["value"]
    assert isinstance(result, SingleValue)
    return result


def test_scalars_are_scalars() -> None:
    words = np.array(b"word", object)
    results = finish({"number": np.array(2.5, np.float32), "words": words, "text": b"x"})
    assert results == {"number": np.float32(2.5), "words": b"word", "text": b"x"}
    assert type(results["number"]) is np.float32


def test_other_arrays_stay_the_same() -> None:
    array = np.zeros((1, 2))
    assert finish({"array": array})["array"] is array
    empty = np.zeros((0, 2))
    assert finish({"array": empty})["array"] is empty


def test_one_element_is_a_number_too() -> None:
    count = single(3)
    assert int(count) == 3
    assert float(count) == 3.0
    assert complex(count) == 3
    assert int(single(3, shape=(1, 1))) == 3
    assert int(single(3, np.float32)[0]) == 3
    assert "%d detections" % count == "3 detections"  # noqa: UP031 - what programs do
    assert list(range(10))[: single(3, np.int64)] == [0, 1, 2]


def test_only_whole_numbers_are_indices() -> None:
    with pytest.raises(TypeError):
        operator.index(single(3))
    assert operator.index(single(3, np.int32)) == 3


def test_it_is_an_array_all_the_same() -> None:
    count = single(3)
    assert isinstance(count, np.ndarray)
    assert repr(count) == repr(np.array([3], np.float32))
    assert type(count + 1) is np.ndarray
    assert (count + 1).tolist() == [4]
    assert count.tolist() == [3]
    assert type(np.sum(count)) is np.float32
    np.testing.assert_array_equal(count, np.array([3], np.float32))
    assert np.concatenate([count, count]).tolist() == [3, 3]
    assert count.flags.writeable


def test_what_has_not_one_element_is_no_number() -> None:
    cut = single(3)[:0]
    with pytest.raises(TypeError):
        int(cut)
    with pytest.raises(TypeError):
        float(np.repeat(single(3), 2))


def test_it_can_be_sent_to_another_process() -> None:
    count = pickle.loads(pickle.dumps(single(3)))  # noqa: S301 - it was made here
    assert int(count) == 3
    assert count.dtype == np.float32


def test_strings_of_one_element() -> None:
    result = finish({"words": np.array([b"word"], object)})["words"]
    assert result[0] == b"word"
    assert result.tolist() == [b"word"]
    assert int(finish({"words": np.array([b"7"], object)})["words"]) == 7
