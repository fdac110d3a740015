"""New arrays: filled, drawn from Python's values, joined, or read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.arrays import check_place, dtype_of
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.errors import type_error, value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.protocol.tensors import Array


def array(source_array: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """A new array of the values; float32 unless told, or an NDArray's own dtype."""
    check_place(ctx or current_context())
    if dtype is None and isinstance(source_array, NDArray):
        dtype = source_array.dtype
    given = source_array.array if isinstance(source_array, NDArray) else source_array
    try:
        return wrap(np.array(given, dtype_of(dtype), order="C"), ctx)
    except (TypeError, ValueError) as error:
        raise value_error(f"source_array must be array like object: {error}") from error


def from_numpy(ndarray: Array, zero_copy: bool = True) -> NDArray:
    """An array that shares the memory of a numpy array, which is read-only from then on."""
    if not zero_copy:
        return array(ndarray, dtype=ndarray.dtype)
    ndarray.flags.writeable = False
    return wrap(ndarray)


def empty(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    check_place(ctx or current_context())
    return wrap(np.empty(_sizes(shape), dtype_of(dtype)), ctx)


def zeros(
    shape: Any, ctx: Context | None = None, dtype: Any = None, stype: str | None = None, **_: Any
) -> NDArray:
    del stype  # arrays here are dense
    check_place(ctx or current_context(), "_zeros")
    return wrap(np.zeros(_sizes(shape), dtype_of(dtype)), ctx)


def ones(shape: Any, ctx: Context | None = None, dtype: Any = None, **_: Any) -> NDArray:
    check_place(ctx or current_context(), "_ones")
    return wrap(np.ones(_sizes(shape), dtype_of(dtype)), ctx)


def full(
    shape: Any,
    val: float,
    ctx: Context | None = None,
    dtype: Any = np.float32,
    out: NDArray | None = None,
) -> NDArray:
    check_place(ctx or current_context(), "_full")
    return _into(out, wrap(np.full(_sizes(shape), val, dtype_of(dtype)), ctx))


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: Any = None,
    ctx: Context | None = None,
    dtype: Any = np.float32,
) -> NDArray:
    del infer_range
    check_place(ctx or current_context(), "_arange")
    first, last = (0, start) if stop is None else (start, stop)
    return wrap(np.repeat(np.arange(first, last, step), repeat).astype(dtype_of(dtype)), ctx)


def linspace(
    start: float,
    stop: float,
    num: int,
    endpoint: bool = True,
    ctx: Context | None = None,
    dtype: Any = np.float32,
) -> NDArray:
    check_place(ctx or current_context(), "_linspace")
    return wrap(np.linspace(start, stop, num, endpoint, dtype=dtype_of(dtype)), ctx)


def eye(
    N: int,  # noqa: N803 - its name
    M: int = 0,  # noqa: N803
    k: int = 0,
    ctx: Context | None = None,
    dtype: Any = None,
) -> NDArray:
    check_place(ctx or current_context(), "_eye")
    return wrap(np.eye(N, M or None, k, dtype=dtype_of(dtype)), ctx)


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """The arrays one after the other along `axis`."""
    if not arrays:
        raise value_error("arrays must not be empty")
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return wrap(np.concatenate([each.array for each in arrays], axis), arrays[0].context)


def moveaxis(tensor: NDArray, source: Any, destination: Any) -> NDArray:
    moved = np.moveaxis(tensor.array, source, destination)
    return wrap(np.ascontiguousarray(moved), tensor.context)


def waitall() -> None:
    """Wait for every computation that was begun.

    Raises:
        MXNetError: one failed whose outputs nobody has read.
    """
    from elastic_inference.frameworks.mxnet import queue  # noqa: PLC0415 - threads

    queue.wait()


def load(fname: Any) -> Any:
    """The arrays of a `.params` file: a dict where they have names, else a list.

    Raises:
        ModelFormatError: the file is not one.
    """
    from elastic_inference.frameworks.mxnet import params  # noqa: PLC0415 - reads files

    found = params.load(fname)
    if isinstance(found, Mapping):
        return {name: wrap(_own(each)) for name, each in found.items()}
    return [wrap(_own(each)) for each in found]


def load_frombuffer(buf: bytes) -> Any:
    """The arrays in the bytes of a `.params` file; see `load`."""
    if not isinstance(buf, str | bytes):
        raise type_error("buf required to be a string or bytes")
    return load(buf)


def save(fname: str, data: Any) -> None:
    """Write arrays into a `.params` file: a list, a dict by name, or one."""
    from elastic_inference.frameworks.mxnet import params  # noqa: PLC0415 - writes files

    if isinstance(data, NDArray):
        data = [data]
    if isinstance(data, Mapping):
        params.save(fname, {name: each.array for name, each in data.items()})
    else:
        params.save(fname, [each.array for each in data])


def _own(array: Array | None) -> Array:
    return np.zeros(0, np.float32) if array is None else array


def _sizes(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(shape)


def _into(out: NDArray | None, made: NDArray) -> NDArray:
    if out is None:
        return made
    out[:] = made
    return out


__all__ = [
    "arange",
    "array",
    "concatenate",
    "empty",
    "eye",
    "from_numpy",
    "full",
    "linspace",
    "load",
    "load_frombuffer",
    "moveaxis",
    "ones",
    "save",
    "waitall",
    "zeros",
]
