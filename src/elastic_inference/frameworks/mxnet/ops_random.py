"""Operators that draw numbers: new ones in each call, others than MXNet's."""

from __future__ import annotations

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    declare,
    dtype,
    number,
    shape,
    text,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.onnx_writer import onnx_type
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, like_first, product
from elastic_inference.frameworks.mxnet.table import operator

_MADE = declare(shape=shape(()), ctx=text(""), dtype=dtype(None))
_NORMAL = declare(loc=number(0.0), scale=number(1.0))
_UNIFORM = declare(low=number(0.0), high=number(1.0))


def _given_shape(s: Shapes) -> None:
    s.give(s.a.shape or (1,))


def _given_type(t: Types) -> None:
    t.give(t.a.dtype or np.float32)


@operator(
    "_random_normal",
    "normal",
    "random_normal",
    inputs=(),
    parameters=_NORMAL | _MADE,
    shapes=_given_shape,
    types=_given_type,
)
@operator("_random_normal_like", parameters=_NORMAL, shapes=like_first)
def _normal(e: Emit) -> str:
    return e.add(
        "RandomNormal", shape=list(e.out_shape), mean=float(e.a.loc), scale=float(e.a.scale),
        dtype=onnx_type(e.out_dtypes[0]),
    )  # fmt: skip


@operator(
    "_random_uniform",
    "uniform",
    "random_uniform",
    inputs=(),
    parameters=_UNIFORM | _MADE,
    shapes=_given_shape,
    types=_given_type,
)
@operator("_random_uniform_like", parameters=_UNIFORM, shapes=like_first)
def _uniform(e: Emit) -> str:
    return e.add(
        "RandomUniform", shape=list(e.out_shape), low=float(e.a.low), high=float(e.a.high),
        dtype=onnx_type(e.out_dtypes[0]),
    )  # fmt: skip


def _multinomial_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give((*data[:-1], *s.a.shape) or (1,))


@operator(
    "_sample_multinomial",
    "sample_multinomial",
    parameters=declare(shape=shape(()), get_prob=boolean(False), dtype=dtype(np.int32)),
    shapes=_multinomial_shapes,
    types=lambda t: t.give(t.a.dtype),
)
def _multinomial(e: Emit) -> str:
    if e.a.get_prob:
        raise e.refuse("get_prob is for training")
    rows = product(e.shape[:-1])
    scores = e.add("Log", e.reshape(e.x, (rows, e.shape[-1])))
    drawn = e.add("Multinomial", scores, sample_size=product(e.a.shape))
    return e.reshape(e.cast(drawn, e.a.dtype), e.out_shape)
