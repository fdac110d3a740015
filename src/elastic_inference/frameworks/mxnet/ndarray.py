"""`NDArray`: MXNet's array, in the instance's memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.frameworks.mxnet import arrays
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.errors import (
    index_error,
    mxnet_error,
    type_error,
    value_error,
)
from elastic_inference.frameworks.mxnet.storage import Chunk, Pending
from elastic_inference.protocol.tensors import Array

Key: TypeAlias = "int | slice | EllipsisType | list[Any] | Array | NDArray | tuple[Any, ...] | None"
Shape: TypeAlias = tuple[int, ...]


def _operate(left: NDArray, right: Any, function: Callable[..., Any], *, swapped: bool) -> Any:
    if isinstance(right, NDArray):
        if right.dtype is not left.dtype:
            raise mxnet_error(
                "src/operator/contrib/../elemwise_op_common.h:135",
                "Check failed: assign(&dattr, vec.at(i)): Incompatible attr in node  at 1-th "
                f"input: expected {np.dtype(left.dtype)}, got {np.dtype(right.dtype)}",
            )
        second: Any = right.array
    elif isinstance(right, np.ndarray | int | float | np.number | np.bool_):
        second = right
    else:
        return NotImplemented
    first = left.array
    with np.errstate(all="ignore"):
        try:
            found = function(second, first) if swapped else function(first, second)
        except ValueError as error:
            raise mxnet_error(
                "src/operator/tensor/./elemwise_binary_broadcast_op.h:67", str(error)
            ) from error
    return wrap(np.asarray(found).astype(first.dtype, copy=False), left.context)


def _operator(function: Callable[..., Any], *, swapped: bool = False) -> Callable[..., Any]:
    def method(self: NDArray, other: Any) -> Any:
        return _operate(self, other, function, swapped=swapped)

    return method


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: NDArray, other: Any) -> Any:
        found = _operate(self, other, function, swapped=False)
        if found is NotImplemented:
            return NotImplemented
        self[:] = found
        return self

    return method


def _comparison(function: Callable[..., Any], for_others: bool | None = None) -> Callable[..., Any]:
    def method(self: NDArray, other: Any) -> Any:
        if for_others is not None and not isinstance(
            other, NDArray | np.ndarray | int | float | np.number
        ):
            return for_others
        return _operate(self, other, function, swapped=False)

    return method


class NDArray:
    """An array of numbers on the instance. An executor's outputs wait when they are read.

    Attributes:
        stype: `default`: sparse arrays are kept dense.
    """

    __slots__ = ("__weakref__", "_chunk", "_context", "_dtype", "_shape", "_view", "grad")
    __array_priority__ = 1000.0
    stype = "default"

    def __init__(
        self,
        chunk: Chunk,
        *,
        context: Context | None = None,
        view: Array | None = None,
        shape: Shape | None = None,
        dtype: Any = None,
    ) -> None:
        self._chunk = chunk
        self._context = context or current_context()
        self._view = view
        known = view if view is not None or dtype is not None else chunk.array
        self._shape: Shape | None = shape if known is None else known.shape
        self._dtype: np.dtype[Any] = np.dtype(dtype) if known is None else known.dtype
        self.grad: NDArray | None = None

    # What the array is.

    @property
    def array(self) -> Array:
        """The content as it lies in memory; waits for it."""
        return self._chunk.array if self._view is None else self._view

    @property
    def shape(self) -> Shape:
        """Its sizes; a scalar has (1,). Waits where only the computation tells them."""
        return self.array.shape if self._shape is None else self._shape

    @property
    def chunk(self) -> Chunk:
        """The memory that it shares with its views."""
        return self._chunk

    @property
    def version(self) -> int:
        """Grows with every change of the content."""
        return self._chunk.version

    @property
    def pending(self) -> Pending | None:
        """The computation that all of its content comes from, if that is under way."""
        return self._chunk.pending if self._view is None else None

    @property
    def dtype(self) -> Any:
        """Its numpy class, such as numpy.float32."""
        return self._dtype.type

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def context(self) -> Context:
        return self._context

    ctx = context

    @property
    def T(self) -> NDArray:  # noqa: N802 - its name
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise type_error("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        sizes = "x".join(str(size) for size in self.shape)
        return f"\n{self.array!s}\n<{type(self).__name__} {sizes} @{self.context}>"

    def __bool__(self) -> bool:
        if self.size > 1:
            raise value_error("The truth value of an NDArray with multiple elements is ambiguous.")
        return bool(self.size) and bool(self.asscalar())

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def __index__(self) -> int:
        return int(self._only("index"))

    def _only(self, kind: str) -> Any:
        if self.size != 1:
            raise type_error(f"only size-1 arrays can be converted to Python {kind}")
        return self.asscalar()

    def __iter__(self) -> Iterator[NDArray]:
        return (self[index] for index in range(self.shape[0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        del copy  # the memory stays the array's own
        found = self.asnumpy()
        return found if dtype is None else found.astype(dtype, copy=False)

    def __dlpack__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.asnumpy().__dlpack__(*arguments, **keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.asnumpy(), self.context)

    # Waiting, and what the content is for others.

    def asnumpy(self) -> Array:
        """The content as a numpy array of the caller's own; waits for it.

        Raises:
            MXNetError: the computation it comes from failed.
        """
        return self.array.copy()

    def asscalar(self) -> Any:
        if self.size != 1:
            raise value_error("The current array is not a scalar")
        return self.array.reshape(-1)[0]

    item = asscalar

    def tolist(self) -> Any:
        return self.array.tolist()

    def wait_to_read(self) -> None:
        """Wait for the content.

        Raises:
            MXNetError: the computation it comes from failed.
        """
        _ = self.array

    wait_to_write = wait_to_read

    # Copies.

    def copy(self) -> NDArray:
        """A copy; it does not wait for what is being computed."""
        pending = self.pending
        if pending is not None:
            chunk = Chunk(pending=pending)
            return NDArray(chunk, context=self._context, shape=self._shape, dtype=self._dtype)
        return wrap(self.array.copy(), self._context)

    def become(self, other: NDArray | Array) -> None:
        """Take over the content of an array of the same shape, without a copy where it can be."""
        given = other if isinstance(other, NDArray) else wrap(other)
        same = given.dtype is self.dtype and given.shape == self.shape
        if same and self._view is None and given._view is None:  # noqa: SLF001 - of its own class
            self._chunk.share(given._chunk)  # noqa: SLF001 - the same
        else:
            self[:] = given

    def copyto(self, other: NDArray | Context) -> NDArray:
        if isinstance(other, NDArray):
            other[:] = self
            return other
        if not isinstance(other, Context):
            raise type_error(f"copyto does not support type {type(other)}")
        arrays.check_place(other)
        copied = self.copy()
        copied._context = other  # noqa: SLF001 - one of its own
        return copied

    def as_in_context(self, context: Context) -> NDArray:
        """This array if it is there, else a copy."""
        return self if context == self._context else self.copyto(context)

    as_in_ctx = as_in_context

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        wanted = arrays.dtype_of(dtype)
        if not copy and wanted == self._dtype:
            return self
        return wrap(self.array.astype(wanted), self._context)

    def detach(self) -> NDArray:
        return self._seen(self._memory)

    def tostype(self, stype: str) -> NDArray:
        if stype != "default":
            raise value_error(f"cannot cast to storage type {stype}: arrays here are dense")
        return self

    def attach_grad(self, grad_req: str = "write", stype: str | None = None) -> None:
        """Gradients are accepted and never written: there is no training here."""
        del stype
        self.grad = wrap(np.zeros_like(self.array)) if grad_req != "null" else None

    # Other views of the same memory.

    @property
    def _memory(self) -> Array:
        """The content where it may be changed."""
        return self._chunk.memory if self._view is None else self._view

    def _seen(self, view: Array) -> NDArray:
        return NDArray(self._chunk, context=self._context, view=view)

    def reshape(self, *sizes: Any, **keywords: Any) -> NDArray:
        """The same memory in another shape; 0, -1, -2, -3 and -4 mean what they mean in MXNet."""
        shape = keywords.pop("shape", None) or sizes
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = shape[0]
        full = arrays.reshaped(self.shape, tuple(shape), reverse=keywords.pop("reverse", False))
        return self._seen(self._memory.reshape(full))

    def reshape_like(self, other: NDArray) -> NDArray:
        return self._seen(self._memory.reshape(other.shape))

    def expand_dims(self, axis: int) -> NDArray:
        return self._seen(np.expand_dims(self._memory, axis))

    def flatten(self) -> NDArray:
        return self._seen(self._memory.reshape(self.shape[0], -1))

    def squeeze(self, axis: Any = None) -> NDArray:
        return self._seen(arrays.at_least_one(np.squeeze(self._memory, axis)))

    def transpose(self, *axes: Any, **keywords: Any) -> NDArray:
        order = keywords.get("axes", axes)
        if len(order) == 1 and isinstance(order[0], tuple | list):
            order = order[0]
        return wrap(np.ascontiguousarray(self.array.transpose(order or None)), self._context)

    def broadcast_to(self, shape: Shape) -> NDArray:
        full = tuple(old if new == 0 else new for old, new in zip(self.shape, shape, strict=True))
        return wrap(np.broadcast_to(self.array, full).copy(), self._context)

    def broadcast_like(self, other: NDArray) -> NDArray:
        return self.broadcast_to(other.shape)

    def slice_assign(self, *arguments: Any) -> NDArray:
        raise type_error(f"assign with x[…] = value, not with slice_assign({arguments})")

    # Elements.

    def __getitem__(self, key: Key) -> NDArray:
        index, basic = _index(key)
        try:
            found = (self._memory if basic else self.array)[index]
        except IndexError as error:
            raise index_error(str(error)) from error
        if basic and isinstance(found, np.ndarray) and np.shares_memory(found, self._memory):
            found = arrays.at_least_one(found)
            if found.flags.c_contiguous:
                return self._seen(found)
        return wrap(arrays.at_least_one(np.array(found)), self._context)

    def __setitem__(self, key: Key, value: Any) -> None:
        index, _ = _index(key)
        whole = self._view is None and self._chunk.pending is not None and _is_whole(key)
        if whole:
            # What it was to hold is of no use any more.
            self._chunk.put(np.empty(self.shape, self._dtype))
        target = self._chunk.writable() if self._view is None else self._view
        if self._view is not None:
            self._chunk.version += 1
        given = value.array if isinstance(value, NDArray) else np.asarray(value)
        try:
            target[index] = _fitting(given, target, index)
        except (ValueError, IndexError) as error:
            raise value_error(str(error)) from error

    # Arithmetic: the result has the array's dtype, a comparison's too.

    __add__ = __radd__ = _operator(np.add)
    __sub__ = _operator(np.subtract)
    __rsub__ = _operator(np.subtract, swapped=True)
    __mul__ = __rmul__ = _operator(np.multiply)
    __truediv__ = _operator(np.true_divide)
    __rtruediv__ = _operator(np.true_divide, swapped=True)
    __mod__ = _operator(np.mod)
    __rmod__ = _operator(np.mod, swapped=True)
    __pow__ = _operator(np.power)
    __rpow__ = _operator(np.power, swapped=True)
    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.true_divide)
    __imod__ = _in_place(np.mod)
    __eq__ = _comparison(np.equal, for_others=False)
    __ne__ = _comparison(np.not_equal, for_others=True)
    __lt__ = _comparison(np.less)
    __le__ = _comparison(np.less_equal)
    __gt__ = _comparison(np.greater)
    __ge__ = _comparison(np.greater_equal)

    def __neg__(self) -> NDArray:
        return wrap(-self.array, self._context)

    def __abs__(self) -> NDArray:
        return wrap(np.abs(self.array), self._context)

    def __hash__(self) -> int:
        return id(self) >> 4

    def __getattr__(self, name: str) -> Any:
        # Methods that are operators: x.softmax(axis=1) is nd.softmax(x, axis=1).
        from elastic_inference.frameworks.mxnet import imperative  # noqa: PLC0415 - needs arrays

        if name.startswith("_") or not imperative.is_method(name):
            raise AttributeError(f"'NDArray' object has no attribute {name!r}")

        def method(*arguments: Any, **keywords: Any) -> Any:
            return imperative.call(name, self, *arguments, **keywords)

        return method

    def backward(self, *_arguments: Any, **_keywords: Any) -> None:
        from elastic_inference.frameworks.mxnet.errors import inference_only  # noqa: PLC0415

        raise inference_only("backward")


def wrap(array: Any, context: Context | None = None) -> NDArray:
    """An array whose memory is `array`; a scalar gets one dimension."""
    return NDArray(Chunk(arrays.at_least_one(np.asarray(array))), context=context)


def expected(
    pending: Any, shape: Shape | None, dtype: Any, context: Context | None = None
) -> NDArray:
    """An array whose content is being computed, and with it its shape if that is None."""
    return NDArray(Chunk(pending=pending), context=context, shape=shape, dtype=dtype)


def _unpickled(array: Array, context: Context) -> NDArray:
    return wrap(array, context)


def _index(key: Key) -> tuple[Any, bool]:
    """`key` for numpy, and whether it takes no more than slices."""
    parts = key if isinstance(key, tuple) else (key,)
    found: list[Any] = []
    basic = True
    for part in parts:
        plain = part.array if isinstance(part, NDArray) else part
        if isinstance(plain, list | np.ndarray):
            basic = False
            plain = np.asarray(plain)
            if plain.dtype.kind == "f":
                plain = plain.astype(np.int64)
        elif plain is not None and not isinstance(plain, slice | EllipsisType):
            plain = operator.index(plain)
        found.append(plain)
    return tuple(found), basic


def _is_whole(key: Key) -> bool:
    return key is Ellipsis or (isinstance(key, slice) and key == slice(None))


def _fitting(given: Array, target: Array, index: Any) -> Array:
    """`given`, without the one dimension that a scalar has in MXNet where it has no place."""
    if given.size == 1 and given.ndim > np.ndim(target[index]):
        return given.reshape(())
    if given.dtype.kind == "f" and target.dtype.kind in "iu":
        return given.astype(target.dtype)
    return given
