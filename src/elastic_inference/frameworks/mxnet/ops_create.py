"""Operators that make arrays, or change their dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    declare,
    dtype,
    integer,
    number,
    shape,
    text,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, like_first, product
from elastic_inference.frameworks.mxnet.table import operator
from elastic_inference.protocol.tensors import Array

# Larger arrays of one number are made where they are used.
_SMALL = 1024
_LARGEST = 1 << 28


def _cast_types(t: Types) -> None:
    t.give(t.a.dtype)


def _cast(e: Emit) -> str:
    return e.x if e.dtype == e.a.dtype else e.cast(e.x, e.a.dtype)


operator(
    "Cast",
    "cast",
    "_npi_cast",
    "_npx_cast",
    parameters=declare(dtype=dtype()),
    shapes=like_first,
    types=_cast_types,
)(_cast)
operator("amp_cast", parameters=declare(dtype=dtype()), shapes=like_first, types=_cast_types)(_cast)


def _each_like_its_own(s: Shapes) -> None:
    for index in range(len(s.outputs)):
        s.give(s.inputs[index], index)
        s.expect(index, s.outputs[index])


def _multicast_types(t: Types) -> None:
    known = [each for each in t.inputs if each is not None and each.kind == "f"]
    if len(known) == len(t.inputs):
        sizes = [each.itemsize for each in known]
        wanted = min(sizes) if t.a.cast_narrow else max(sizes)
        for index in range(len(t.outputs)):
            t.give(f"f{wanted}", index)


@operator(
    "amp_multicast",
    variadic="num_outputs",
    parameters=declare(num_outputs=integer(), cast_narrow=boolean(False)),
    shapes=_each_like_its_own,
    types=_multicast_types,
    outputs=lambda a: max(int(a.num_outputs), 1),
)
def _multicast(e: Emit) -> list[str]:
    return [
        x if given == wanted else e.cast(x, wanted)
        for x, given, wanted in zip(e.inputs, e.dtypes, e.out_dtypes, strict=True)
    ]


def _given_type(t: Types) -> None:
    t.give(t.a.dtype or np.float32)


def _given_shape(s: Shapes) -> None:
    if s.a.shape:
        s.give(s.a.shape)


def _filled(value: Callable[[Attributes], float]) -> Callable[[Emit], str]:
    def write(e: Emit) -> str:
        if product(e.out_shape) <= _SMALL:
            return e.constant(np.full(e.out_shape, value(e.a)), e.out_dtypes[0])
        return e.expand(e.constant(value(e.a), e.out_dtypes[0]), e.out_shape)

    return write


def _bounded(e: Emit) -> int:
    """How many elements a constant has."""
    count = product(e.out_shape)
    if count > _LARGEST:
        raise e.refuse(f"a constant of {count} elements is too large")
    return count


_PLACE = declare(ctx=text(""))
_NEW = declare(shape=shape(()), dtype=dtype(np.float32)) | _PLACE
for _names, _parameters, _value in (
    (("_zeros",), _NEW, lambda _: 0),
    (("_zeros_without_dtype",), _NEW, lambda _: 0),
    (("_ones",), _NEW, lambda _: 1),
    (("_full", "_npi_full"), _NEW | declare(value=number()), lambda a: a.value),
):
    operator(*_names, inputs=(), parameters=_parameters, shapes=_given_shape, types=_given_type)(
        _filled(_value)
    )

for _name, _value in (("zeros_like", lambda _: 0), ("ones_like", lambda _: 1)):
    operator(_name, f"_sparse_{_name}", shapes=like_first)(_filled(_value))


def _steps(a: Attributes) -> Array:
    start, stop = (0.0, a.start) if a.stop is None else (a.start, a.stop)
    return np.repeat(
        start + a.step * np.arange(max(int(np.ceil((stop - start) / a.step)), 0)), a.repeat
    )


_RANGE = (
    declare(
        start=number(),
        stop=number(None),
        step=number(1.0),
        repeat=integer(1),
        infer_range=boolean(False),
        dtype=dtype(np.float32),
    )
    | _PLACE
)


def _arange_shape(s: Shapes) -> None:
    if s.a.infer_range and s.a.stop is None:
        return
    if s.a.step == 0 or s.a.repeat < 1:
        raise s.refuse("arange needs a step that is not 0 and repeat >= 1")
    stop, start = (s.a.start, 0.0) if s.a.stop is None else (s.a.stop, s.a.start)
    s.give((max(int(np.ceil((stop - start) / s.a.step)), 0) * s.a.repeat,))


@operator("_arange", inputs=(), parameters=_RANGE, shapes=_arange_shape, types=_given_type)
def _arange(e: Emit) -> str:
    _bounded(e)
    if e.a.infer_range and e.a.stop is None:
        # As long as what it is used with.
        numbers = e.a.start + e.a.step * (np.arange(product(e.out_shape)) // e.a.repeat)
        return e.constant(numbers, e.out_dtypes[0])
    return e.constant(_steps(e.a), e.out_dtypes[0])


@operator(
    "_linspace",
    "_npi_linspace",
    inputs=(),
    parameters=declare(
        start=number(), stop=number(None), num=integer(50), step=number(1.0), repeat=integer(1),
        endpoint=boolean(True), infer_range=boolean(False), dtype=dtype(np.float32), ctx=text(""),
    ),
    shapes=lambda s: s.give((s.a.num,)),
    types=_given_type,
)  # fmt: skip
def _linspace(e: Emit) -> str:
    _bounded(e)
    made = np.linspace(e.a.start, e.a.stop, e.a.num, e.a.endpoint)
    return e.constant(made, e.out_dtypes[0])


@operator(
    "_eye",
    inputs=(),
    parameters=declare(N=integer(), M=integer(0), k=integer(0), dtype=dtype(np.float32)) | _PLACE,
    shapes=lambda s: s.give((s.a.N, s.a.M or s.a.N)),
    types=_given_type,
)
def _eye(e: Emit) -> str:
    _bounded(e)
    rows, columns = e.out_shape
    return e.constant(np.eye(rows, columns, k=e.a.k), e.out_dtypes[0])


def _arange_like_shape(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give(data if s.a.axis is None else (data[s.axis(s.a.axis, len(data))],))


@operator(
    "_contrib_arange_like",
    "_npx_arange_like",
    parameters=declare(start=number(0.0), step=number(1.0), repeat=integer(1), axis=integer(None))
    | _PLACE,
    shapes=_arange_like_shape,
)
def _arange_like(e: Emit) -> str:
    places = np.arange(_bounded(e)) // e.a.repeat
    return e.constant((e.a.start + e.a.step * places).reshape(e.out_shape))


def _index_array_shape(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give((*data, len(data) if s.a.axes is None else len(s.a.axes)))


@operator(
    "_contrib_index_array",
    parameters=declare(axes=shape(None)),
    shapes=_index_array_shape,
    types=lambda t: t.give(np.int64),
)
def _index_array(e: Emit) -> str:
    _bounded(e)
    places: list[Any] = list(np.indices(e.shape))
    axes = range(e.rank) if e.a.axes is None else e.a.axes
    return e.constant(np.stack([places[axis] for axis in axes], -1), np.int64)
