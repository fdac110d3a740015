"""What MXNet's arrays do that numpy's do otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.context import Context
from elastic_inference.frameworks.mxnet.errors import mxnet_error, no_gpu, type_error
from elastic_inference.protocol.tensors import Array

# Numbers of MXNet's dtypes in files and in the C API.
NUMBERS: dict[int, str] = {
    0: "float32",
    1: "float64",
    2: "float16",
    3: "uint8",
    4: "int32",
    5: "int8",
    6: "int64",
    7: "bool",
    8: "int16",
    9: "uint16",
    10: "uint32",
    11: "uint64",
}


def dtype_of(dtype: Any) -> np.dtype[Any]:
    """The numpy dtype that `dtype` means; float32 if None.

    Raises:
        TypeError: it means none.
    """
    if dtype is None:
        return np.dtype(np.float32)
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise type_error(f"data type {dtype!r} not understood") from error
    return found


def check_place(context: Context | None, operator: str = "") -> None:
    """Refuse what cannot hold an array, in the words of the original.

    Raises:
        MXNetError: the context is a GPU, or the accelerator.
    """
    if context is None or context.device_type.startswith("cpu"):
        return
    if context.device_type == "gpu":
        if operator:
            refused = no_gpu()
            raise mxnet_error(
                "src/imperative/imperative.cc:79",
                f"Operator {operator} is not implemented for GPU.\n{refused.message}",
            )
        raise no_gpu("src/storage/storage.cc:119")
    raise mxnet_error("src/storage/storage.cc:145", f"Unimplemented device {context.device_typeid}")


def at_least_one(array: Array) -> Array:
    """`array` with the one dimension that MXNet's scalars have."""
    return array.reshape(1) if array.ndim == 0 else array


def reshaped(shape: Sequence[int], wanted: Sequence[int], *, reverse: bool = False) -> list[int]:
    """The shape that MXNet's reshape gives an array of `shape`.

    0 copies a size, -1 takes what is left, -2 copies all others, -3 merges two, -4 splits one in
    the two that follow.

    Raises:
        MXNetError: it cannot be.
    """
    if reverse:
        return reshaped(shape[::-1], _reversed(wanted))[::-1]
    sizes = [int(size) for size in shape]
    found: list[int] = []
    at = 0
    codes = iter(int(code) for code in wanted)
    try:
        for code in codes:
            if code == 0:
                found.append(sizes[at])
                at += 1
            elif code == -1:
                found.append(-1)
                at += 1
            elif code == -2:
                found += sizes[at:]
                at = len(sizes)
            elif code == -3:
                found.append(sizes[at] * sizes[at + 1])
                at += 2
            elif code == -4:
                found += _split(sizes[at], next(codes), next(codes))
                at += 1
            else:
                found.append(code)
                at += 1
    except (IndexError, StopIteration):
        raise _cannot(sizes, wanted) from None
    return _filled(sizes, found, wanted)


def _reversed(wanted: Sequence[int]) -> list[int]:
    found: list[int] = []
    codes = list(wanted)
    while codes:
        # The sizes that a split asks for stay behind it.
        taken = codes[:3] if codes[0] == -4 else codes[:1]
        codes = codes[len(taken) :]
        found = [*taken[:1], *taken[:0:-1], *found]
    return found


def _split(size: int, first: int, second: int) -> list[int]:
    if first == -1:
        first = size // second if second else 0
    elif second == -1:
        second = size // first if first else 0
    if first * second != size:
        raise _cannot([size], [-4, first, second])
    return [first, second]


def _filled(sizes: list[int], found: list[int], wanted: Sequence[int]) -> list[int]:
    total = int(np.prod(sizes, dtype=np.int64))
    if found.count(-1) == 1:
        others = int(np.prod([size for size in found if size != -1], dtype=np.int64))
        found[found.index(-1)] = total // others if others else 0
    if int(np.prod(found, dtype=np.int64)) != total or min(found, default=0) < 0:
        raise _cannot(sizes, wanted)
    return found


def _cannot(shape: Sequence[int], wanted: Sequence[int]) -> Exception:
    return mxnet_error(
        "src/operator/tensor/./matrix_op-inl.h:203",
        f"Check failed: cannot reshape array of shape {tuple(shape)} into {tuple(wanted)}",
    )
