"""`.params` files: what is written comes back, old versions are read, damage is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from elastic_inference.errors import InvalidRequestError, ModelFormatError
from elastic_inference.frameworks.mxnet import params
from elastic_inference.frameworks.mxnet.attributes import DTYPES
from elastic_inference.frameworks.mxnet.origins import origin
from elastic_inference.protocol.tensors import Array

_DTYPES = st.sampled_from([np.dtype(name) for name in DTYPES.values()])
_ARRAYS = _DTYPES.flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=5, max_side=4))
)
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def written(data: Any) -> bytes:
    file = io.BytesIO()
    params.write(file, data)
    return file.getvalue()


def single(body: bytes) -> bytes:
    """A file of one array without a name."""
    return struct.pack("<QQQ", 0x112, 0, 1) + body + struct.pack("<Q", 0)


def only(raw: bytes) -> Array | None:
    (found,) = params.load(raw)
    assert not isinstance(found, str)
    return found


@given(st.dictionaries(_NAMES, _ARRAYS, min_size=1, max_size=4))
def test_named_arrays_come_back(data: dict[str, Array]) -> None:
    found = params.load(written(data))
    assert isinstance(found, dict)
    assert list(found) == list(data)
    for name, array in data.items():
        back = found[name]
        assert back is not None
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


@given(st.lists(_ARRAYS, max_size=4))
def test_arrays_without_names_come_back(data: list[Array]) -> None:
    found = params.load(written(data))
    assert isinstance(found, list)
    assert len(found) == len(data)
    for back, array in zip(found, data, strict=True):
        np.testing.assert_array_equal(back, array)


def test_a_scalar_has_one_dimension() -> None:
    (found,) = params.load(written([np.array(3.0, np.float32)]))
    assert found.shape == (1,)  # type: ignore[union-attr]


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="complex64"):
        written([np.zeros(2, np.complex64)])


def test_the_first_version_has_its_rank_for_a_magic() -> None:
    body = struct.pack("<IIIiii4f", 2, 2, 2, 2, 0, 0, 1, 2, 3, 4)
    np.testing.assert_array_equal(only(single(body)), [[1, 2], [3, 4]])


def test_the_second_version() -> None:
    body = struct.pack("<Iiqqiii2i", 0xF993FAC8, 2, 1, 2, 1, 0, 4, 7, 8)
    np.testing.assert_array_equal(only(single(body)), [[7, 8]])


def test_arrays_that_were_never_filled_are_none() -> None:
    none = (
        struct.pack("<I", 0),
        struct.pack("<Ii", 0xF993FAC8, 0),
        struct.pack("<Iii", 0xF993FAC9, 0, 0),
        struct.pack("<Iii", 0xF993FACA, 0, -1),
    )
    assert all(only(single(body)) is None for body in none)


def test_scalars_and_empty_arrays_of_the_newest_version() -> None:
    scalar = struct.pack("<Iiiiiif", 0xF993FACA, 0, 0, 1, 0, 0, 2.5)
    empty = struct.pack("<Iiiqiii", 0xF993FACA, 0, 1, 0, 1, 0, 0)
    found = only(single(scalar))
    assert found is not None
    assert found.shape == ()
    assert found == 2.5
    found = only(single(empty))
    assert found is not None
    assert found.shape == (0,)


def test_the_device_does_not_matter() -> None:
    body = struct.pack("<Iiiqiiif", 0xF993FAC9, 0, 1, 1, 2, 3, 0, 1.5)
    np.testing.assert_array_equal(only(single(body)), [1.5])


def test_bfloat16_becomes_float32() -> None:
    body = struct.pack("<IiiqiiiHH", 0xF993FAC9, 0, 1, 2, 1, 0, 12, 0x3FC0, 0xC000)
    np.testing.assert_array_equal(only(single(body)), np.array([1.5, -2], np.float32))


def _row_sparse(indices: list[int], rows: int = 4) -> bytes:
    count = len(indices)
    head = struct.pack("<Iiiqqiqqiii", 0xF993FAC9, 1, 2, count, 2, 2, rows, 2, 1, 0, 0)
    kinds = struct.pack("<iiq", 6, 1, count)
    data = struct.pack(f"<{2 * count}f", *range(1, 2 * count + 1))
    return single(head + kinds + data + struct.pack(f"<{count}q", *indices))


def test_sparse_rows_become_dense() -> None:
    found = only(_row_sparse([1, 3]))
    np.testing.assert_array_equal(found, [[0, 0], [1, 2], [0, 0], [3, 4]])


@pytest.mark.parametrize("index", [4, -1, 1 << 40])
def test_wrong_indices_are_refused(index: int) -> None:
    with pytest.raises(ModelFormatError, match="indices"):
        only(_row_sparse([0, index]))


def test_a_sparse_array_cannot_grow_without_bound() -> None:
    with pytest.raises(ModelFormatError, match="too large"):
        only(_row_sparse([0], rows=1 << 50))


def _csr(starts: list[int], columns: list[int]) -> bytes:
    count = len(columns)
    head = struct.pack("<Iiiqiqqiii", 0xF993FAC9, 2, 1, count, 2, 2, 3, 1, 0, 0)
    kinds = struct.pack("<iiqiiq", 6, 1, len(starts), 6, 1, count)
    data = struct.pack(f"<{count}f", *range(1, count + 1))
    indices = struct.pack(f"<{len(starts) + count}q", *starts, *columns)
    return single(head + kinds + data + indices)


def test_compressed_rows_become_dense() -> None:
    np.testing.assert_array_equal(only(_csr([0, 2, 3], [0, 2, 1])), [[1, 0, 2], [0, 3, 0]])


@pytest.mark.parametrize(
    ("starts", "columns"),
    [([0, 2, 4], [0, 2, 1]), ([0, 2, 3], [0, 3, 1]), ([0, 3, 1], [0, 1, 2]), ([0, 3], [0, 1, 2])],
)
def test_wrong_compressed_rows_are_refused(starts: list[int], columns: list[int]) -> None:
    with pytest.raises(ModelFormatError, match="indices"):
        only(_csr(starts, columns))


@given(st.data())
@settings(max_examples=200)
def test_whatever_is_cut_off_is_refused(data: st.DataObject) -> None:
    raw = written({"arg:w": np.arange(6, dtype=np.float32).reshape(2, 3), "aux:m": np.ones(2)})
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(ModelFormatError):
        params.load(raw[:cut])


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<QQQ", 0x112, 0, 1 << 60),
        struct.pack("<QQQQQ", 0x112, 0, 0, 1, 1 << 60),
        struct.pack("<QQQ", 0x113, 0, 0),
        single(struct.pack("<Iiiqqiii", 0xF993FAC9, 0, 2, 1 << 40, 1 << 40, 1, 0, 0)),
        single(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 4, 1, 0, 99)),
        single(struct.pack("<Iii", 0xF993FAC9, 9, 0)),
        single(struct.pack("<Iii", 0xF993FAC9, 0, 1 << 30)),
        single(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, -5, 1, 0, 0)),
        single(struct.pack("<I", 1 << 31)),
        written([np.ones(1)]) + b"more",
        written({"a": np.ones(1)})[:-1] + b"\xff",
        single(struct.pack("<IiiqiiiB", 0xF993FAC9, 0, 1, 1, 1, 0, 7, 2)),
    ],
)
def test_hostile_files_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelFormatError, match=r"the data is not a \.params file"):
        params.load(raw)


def test_a_file_is_mapped_and_known_by_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "m-0000.params"
    data = {"arg:w": np.arange(6, dtype=np.float32), "arg:v": np.ones((2, 2), np.float32)}
    params.save(path, data)
    found = params.load(path)
    assert isinstance(found, dict)
    raw = path.read_bytes()
    for name, array in data.items():
        back = found[name]
        assert back is not None
        assert not back.flags.writeable
        place = origin(back)
        assert place is not None
        assert place.path == str(path)
        assert raw[place.offset : place.offset + back.nbytes] == array.tobytes()
    assert origin(found["arg:w"][1:]) is not None  # type: ignore[index]
    assert origin(found["arg:w"][::2]) is None  # type: ignore[index]
    assert origin(data["arg:w"]) is None


def test_a_file_that_was_replaced_is_not_referred_to(tmp_path: Path) -> None:
    path = tmp_path / "m-0000.params"
    params.save(path, [np.zeros(4, np.float32)])
    (first,) = params.load(path)
    params.save(path, [np.ones(4, np.float32)])
    assert origin(first) is None  # type: ignore[arg-type]
    np.testing.assert_array_equal(first, np.zeros(4))


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="Cannot read"):
        params.load(tmp_path / "no.params")
    (tmp_path / "empty.params").touch()
    with pytest.raises(ModelFormatError, match="is empty"):
        params.load(tmp_path / "empty.params")
    with pytest.raises(InvalidRequestError, match="Cannot write"):
        params.save(tmp_path / "no" / "m.params", [])


def test_a_saved_file_leaves_no_other(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        params.save(tmp_path / "m.params", [np.zeros(2, np.complex64)])
    assert not list(tmp_path.iterdir())
