"""Large arrays of numbers in JSON, against the standard library's reader."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.serving import json_numbers
from elastic_inference.serving.json_numbers import cut, read

FEW = settings(max_examples=100, deadline=None)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.decimals(-1000, 1000, places=3).map(float),
)


@FEW
@given(
    values=st.lists(NUMBERS, min_size=1, max_size=60),
    columns=st.sampled_from([0, 1, 2, 3]),
    separator=st.sampled_from([",", ", "]),
    block=st.sampled_from([8, 1 << 16]),
)
def test_arrays_are_read_as_they_are_written(
    values: list[Any], columns: int, separator: str, block: int
) -> None:
    nested: Any = values
    if columns:
        values = values * columns
        nested = [values[at : at + columns] for at in range(0, len(values), columns)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_numbers, "_BLOCK", block)
        found = read(json.dumps(nested, separators=(separator, ":")).encode())
    if found is None:
        # Integers beside decimals and too large for them are read elsewhere.
        return
    assert found.values.shape == np.shape(nested)
    if all(isinstance(value, int) for value in values):
        assert found.values.dtype == np.int64
        assert found.values.tolist() == nested
    expected = np.array(nested, np.float64)
    assert np.array_equal(found.doubles(), expected)
    with np.errstate(over="ignore", under="ignore"):
        assert np.allclose(found.values, expected, rtol=1e-15, atol=0)


def test_usual_arrays_are_read_without_the_standard_library() -> None:
    chance = np.random.default_rng(0)
    for values in (
        chance.random((2, 300), dtype=np.float32),
        chance.standard_normal((2, 300)),
        chance.integers(0, 256, (2, 300)),
        np.round(chance.random((2, 300)), 3),
        np.where(chance.random((2, 300)) < 0.01, 1e-9, 0.5),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_numbers, "_usual", lambda _: None)
            assert read(json.dumps(values.tolist()).encode()) is not None


def test_what_json_refuses_is_not_read() -> None:
    chance = random.Random(0)  # noqa: S311 - the same cases in every run
    pieces = ["1", "0", "-", ".", ",", "[", "]", " ", "e", "+", "12.5", "[1,2]", "1e5", "\n"]
    accepted = 0
    for _ in range(20_000):
        text = "[" + "".join(chance.choices(pieces, k=chance.randrange(1, 9))) + "]"
        found = read(text.encode())
        if found is None:
            continue
        accepted += 1
        assert np.array_equal(found.doubles(), np.array(json.loads(text), np.float64)), text
    assert accepted > 100


def document(text: str) -> tuple[Any, int]:
    """What `text` says once its arrays are put back, and how many were cut out."""
    rest, arrays = cut(text.encode())

    def restored(value: Any) -> Any:
        if isinstance(value, str):
            return arrays[value].values.tolist() if value in arrays else value
        if isinstance(value, list):
            return [restored(each) for each in value]
        if isinstance(value, dict):
            return {key: restored(each) for key, each in value.items()}
        return value

    return restored(json.loads(rest)), len(arrays)


LARGE = list(range(1000))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"instances": LARGE}, 1),
        ({"a": [LARGE, LARGE], "b": 1}, 1),
        ({"instances": [{"x": LARGE, "y": [1]}, {"x": LARGE, "y": [2]}]}, 2),
        ({"a": str(LARGE)}, 0),
        ({"a": str(LARGE), "b": LARGE, "c": f"x{LARGE}", "d": LARGE}, 2),
        ({"a": ["x", LARGE, "y"], "b": [True, LARGE]}, 1),
        ({"a": [[1], [*LARGE]], "b": [[1, 2], LARGE]}, 0),
        ({"a": "\\", "b": LARGE}, 0),
        ({"a": [1, 2, 3]}, 0),
    ],
)
def test_arrays_are_cut_out_and_nothing_else(value: Any, count: int) -> None:
    assert document(json.dumps(value)) == (value, count)


def test_deep_and_endless_brackets_are_passed_over() -> None:
    for text in (
        "[" * 100_000,
        "]" * 100_000,
        "[]" * 100_000,
        "[1,[" * 50_000,
        "[" + "," * 100_000,
    ):
        rest, arrays = cut(text.encode())
        assert rest.decode() == text
        assert not arrays
