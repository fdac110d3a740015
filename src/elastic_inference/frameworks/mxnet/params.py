"""`.params` files: arrays, with names or without, as every version of MXNet wrote them.

Arrays of a file that is read are views of it, read-only: nothing is copied but what is sparse.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from elastic_inference.errors import InvalidRequestError, ModelFormatError
from elastic_inference.frameworks.mxnet.attributes import DTYPES
from elastic_inference.frameworks.mxnet.errors import type_error
from elastic_inference.frameworks.mxnet.origins import map_file
from elastic_inference.protocol.tensors import Array

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE, _ROW_SPARSE, _CSR = 0, 1, 2
# How many auxiliary arrays a kind of storage has.
_AUXILIARY = {_DENSE: 0, _ROW_SPARSE: 1, _CSR: 2}
_BFLOAT16 = 12
_CPU = (1, 0)
_NUMBERS = {name: number for number, name in DTYPES.items()}
_MAX_RANK = 32
_MAX_NAME = 1 << 16
# numpy refuses shapes of more, even where a size is 0.
_MOST_ELEMENTS = 1 << 58
# A sparse array becomes a dense one, which may be so much larger than its file.
_LARGEST_GROWTH, _ALWAYS_ALLOWED = 64, 64 << 20


def load(source: str | os.PathLike[str] | bytes) -> dict[str, Array | None] | list[Array | None]:
    """The arrays in a file, or in its bytes: by name, or a list where they have no names.

    None stands for an array that was never filled. bfloat16 becomes float32.

    Raises:
        InvalidRequestError: the file cannot be read.
        ModelFormatError: it is no such file, or damaged.
    """
    if isinstance(source, bytes):
        return _Reader(np.frombuffer(source, np.uint8), "the data").document()
    path = os.fspath(source)
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is a user's string
            if os.fstat(file.fileno()).st_size == 0:
                raise ModelFormatError(f"{path} is empty.")
            whole = map_file(file, path)
    except OSError as error:
        raise InvalidRequestError(f"Cannot read {path}: {error.strerror or error}.") from error
    return _Reader(whole, path).document()


def save(path: str | os.PathLike[str], data: Mapping[str, Array] | Sequence[Array]) -> None:
    """Write arrays into a file, which appears as a whole.

    Raises:
        InvalidRequestError: the file cannot be written.
        TypeError: MXNet has no such dtype.
    """
    target = Path(path)
    try:
        # The file that it replaces may be mapped.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                write(file, data)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise InvalidRequestError(f"Cannot write {path}: {error.strerror or error}.") from error


def write(file: IO[bytes], data: Mapping[str, Array] | Sequence[Array]) -> None:
    """Write arrays to an open file; errors as `save`."""
    arrays = list(data.values()) if isinstance(data, Mapping) else list(data)
    names = list(data) if isinstance(data, Mapping) else []
    file.write(struct.pack("<QQQ", _MAGIC, 0, len(arrays)))
    for array in arrays:
        for piece in _pieces(array):
            file.write(piece)
    file.write(struct.pack("<Q", len(names)))
    for name in names:
        encoded = name.encode()
        file.write(struct.pack("<Q", len(encoded)) + encoded)


def _pieces(array: Array) -> Iterator[bytes | memoryview]:
    number = _NUMBERS.get(array.dtype.name)
    if number is None:
        raise type_error(f"MXNet has no dtype {array.dtype.name}.")
    shape = array.shape or (1,)
    yield struct.pack(f"<Iii{len(shape)}qiii", _V2, _DENSE, len(shape), *shape, *_CPU, number)
    if array.size:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        yield plain.reshape(-1).view(np.uint8).data


def _umask() -> int:
    known = os.umask(0)
    os.umask(known)
    return known


@dataclass(slots=True)
class _Header:
    """What stands before an array's data."""

    storage: int
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    dtype: int
    auxiliary: list[tuple[int, tuple[int, ...]]]


class _Reader:
    def __init__(self, data: Array, name: str) -> None:
        self._data = data
        self._bytes = data.data
        self._at = 0
        self._name = name

    def document(self) -> dict[str, Array | None] | list[Array | None]:
        magic, _ = self._take("QQ")
        if magic != _MAGIC:
            raise self._refuse("it does not begin as one")
        arrays = [self._array() for _ in range(self._count(4))]
        names = [self._text() for _ in range(self._count(8))]
        if self._at != len(self._data):
            raise self._refuse("there is more behind its end")
        if not names:
            return arrays
        if len(names) != len(arrays):
            raise self._refuse(f"it has {len(arrays)} arrays and {len(names)} names")
        return dict(zip(names, arrays, strict=True))

    def _refuse(self, why: str) -> ModelFormatError:
        return ModelFormatError(f"{self._name} is not a .params file of MXNet: {why}.")

    def _take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + layout)
        if size > len(self._data) - self._at:
            raise self._refuse("it is cut off")
        values = struct.unpack_from("<" + layout, self._bytes, self._at)
        self._at += size
        return values

    def _count(self, least: int) -> int:
        """A number of items of at least so many bytes each."""
        (count,) = self._take("Q")
        if count > (len(self._data) - self._at) // least:
            raise self._refuse("it is cut off, or counts more than it has")
        return int(count)

    def _text(self) -> str:
        (size,) = self._take("Q")
        if size > min(_MAX_NAME, len(self._data) - self._at):
            raise self._refuse("it is cut off, or has a name without end")
        raw = bytes(self._bytes[self._at : self._at + size])
        self._at += size
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._refuse("a name is not UTF-8") from None

    def _array(self) -> Array | None:
        (magic,) = self._take("I")
        header = self._old_header(magic) if magic not in (_V2, _V3) else self._header(magic)
        if header is None:
            return None
        data = self._elements(header.dtype, header.stored)
        parts = [self._elements(dtype, shape) for dtype, shape in header.auxiliary]
        if header.storage == _DENSE:
            return data
        return self._dense(header, data, parts)

    def _old_header(self, magic: int) -> _Header | None:
        shape = self._shape("q") if magic == _V1 else self._sizes("I", magic)
        if not shape:
            return None
        _, _, dtype = self._take("iii")
        return _Header(_DENSE, shape, shape, dtype, [])

    def _header(self, magic: int) -> _Header | None:
        (storage,) = self._take("i")
        if storage not in _AUXILIARY:
            raise self._refuse("an array has an unknown kind of storage")
        count = _AUXILIARY[storage]
        stored = self._shape("q") if count else None
        shape = self._shape("q")
        # What has no shape was never filled, and nothing more is written of it.
        unknown = shape is None or -1 in shape
        if unknown or (magic == _V2 and (not shape or 0 in shape)) or shape is None:
            return None
        _, _, dtype = self._take("iii")
        auxiliary = [(*self._take("i"), self._shape("q") or ()) for _ in range(count)]
        return _Header(storage, shape, (stored or ()) if count else shape, dtype, auxiliary)

    def _shape(self, size: str) -> tuple[int, ...] | None:
        (rank,) = self._take("i")
        return None if rank == -1 else self._sizes(size, rank)

    def _sizes(self, size: str, rank: int) -> tuple[int, ...]:
        if not 0 <= rank <= _MAX_RANK:
            raise self._refuse("an array has an impossible rank")
        sizes = self._take(f"{rank}{size}")
        if min(sizes, default=0) < -1:
            raise self._refuse("an array has an impossible size")
        return tuple(int(each) for each in sizes)

    def _elements(self, number: int, shape: tuple[int, ...]) -> Array:
        if number not in DTYPES and number != _BFLOAT16:
            raise self._refuse(f"an array has the unknown dtype {number}")
        dtype = np.dtype(DTYPES.get(number, "uint16")).newbyteorder("<")
        count = _product(shape)
        if count < 0 or count * dtype.itemsize > len(self._data) - self._at:
            raise self._refuse("it is cut off, or an array is larger than the file")
        end = self._at + count * dtype.itemsize
        found = self._data[self._at : end].view(dtype).reshape(shape)
        self._at = end
        if number == _BFLOAT16:
            return (found.astype(np.uint32) << 16).view(np.float32)
        if number == _NUMBERS["bool"] and count and int(found.view(np.uint8).max()) > 1:
            raise self._refuse("a truth value is neither 0 nor 1")
        return found

    def _dense(self, header: _Header, data: Array, parts: list[Array]) -> Array:
        size = _product(header.shape) * data.dtype.itemsize
        if size < 0 or size > max(_ALWAYS_ALLOWED, _LARGEST_GROWTH * len(self._data)):
            raise self._refuse("a sparse array is too large")
        found = np.zeros(header.shape, data.dtype)
        try:
            if any(part.dtype.kind not in "iu" or part.ndim != 1 for part in parts):
                raise IndexError
            if header.storage == _ROW_SPARSE:
                found[_checked(parts[0], header.shape[0])] = data
            else:
                _fill(found, data, *parts)
        except (IndexError, ValueError):
            raise self._refuse("the indices of a sparse array are wrong") from None
        return found


def _fill(found: Array, data: Array, starts: Array, columns: Array) -> None:
    """Put the elements of a CSR matrix into `found`."""
    rows, width = found.shape
    bounds = starts.astype(np.int64)
    lengths = bounds[1:] - bounds[:-1]
    if len(starts) != rows + 1 or starts[0] != 0 or np.any(lengths < 0):
        raise IndexError
    if int(starts[-1]) != len(columns) or data.shape != columns.shape:
        raise IndexError
    found[np.repeat(np.arange(rows), lengths), _checked(columns, width)] = data


def _checked(indices: Array, size: int) -> Array:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError
    return indices


def _product(shape: Sequence[int]) -> int:
    """How many elements there are, or -1 for an impossible number."""
    count = 1
    for size in shape:
        count *= max(size, 1)
    if min(shape, default=0) < 0 or count > _MOST_ELEMENTS:
        return -1
    return 0 if 0 in shape else count
