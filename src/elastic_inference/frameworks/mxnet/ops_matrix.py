"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    choice,
    declare,
    integer,
    number,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, like_first, product
from elastic_inference.frameworks.mxnet.table import operator

_DOT = declare(
    transpose_a=boolean(False),
    transpose_b=boolean(False),
    forward_stype=choice(("csr", "default", "row_sparse"), None),
)


def _dot_shapes(s: Shapes) -> None:
    left, right = s.inputs
    if left is None or right is None:
        return
    if len(left) == 1 and len(right) == 1:
        s.give((1,))
        return
    a = left[1:] if s.a.transpose_a else left[:-1]
    b = right[:-1] if s.a.transpose_b else right[1:]
    inner = left[0] if s.a.transpose_a else left[-1]
    other = right[-1] if s.a.transpose_b else right[0]
    if inner and other and inner != other:
        raise s.refuse(f"dot of shapes {list(left)} and {list(right)}")
    s.give((*a, *b) or (1,))


@operator("dot", "_sparse_dot", inputs=("lhs", "rhs"), parameters=_DOT, shapes=_dot_shapes)
def _dot(e: Emit) -> str:
    left, right = e.shapes
    inner = left[0] if e.a.transpose_a and len(left) > 1 else left[-1]
    rows, columns = product(left) // inner, product(right) // inner
    if e.a.transpose_a and len(left) > 1:
        a = e.transpose(e.reshape(e.x, (inner, rows)), (1, 0))
    else:
        a = e.reshape(e.x, (rows, inner))
    if e.a.transpose_b and len(right) > 1:
        b = e.transpose(e.reshape(e.inputs[1], (columns, inner)), (1, 0))
    else:
        b = e.reshape(e.inputs[1], (inner, columns))
    return e.reshape(e.add("MatMul", a, b), e.out_shape)


def _turned(e: Emit, x: str, rank: int, *, transposed: bool) -> str:
    """`x` with its last two axes swapped, if `transposed`."""
    return e.transpose(x, [*range(rank - 2), rank - 1, rank - 2]) if transposed else x


def _product_shape(s: Shapes, left: Shape | None, right: Shape | None) -> Shape | None:
    if left is None or right is None:
        return None
    if len(left) != len(right) or len(left) < 2:
        raise s.refuse(f"product of shapes {list(left)} and {list(right)}")
    a, b = s.a.transpose_a, s.a.transpose_b
    inner, other = left[-2 if a else -1], right[-1 if b else -2]
    if inner and other and inner != other:
        raise s.refuse(f"product of shapes {list(left)} and {list(right)}")
    return (*left[:-2], left[-1 if a else -2], right[-2 if b else -1])


def _multiplied(e: Emit) -> str:
    left = _turned(e, e.x, e.rank, transposed=e.a.transpose_a)
    right = _turned(e, e.inputs[1], len(e.shapes[1]), transposed=e.a.transpose_b)
    return e.add("MatMul", left, right)


@operator(
    "batch_dot",
    "_npx_batch_dot",
    inputs=("lhs", "rhs"),
    parameters=_DOT,
    shapes=lambda s: s.give(_product_shape(s, *s.inputs)),
)
def _batch_dot(e: Emit) -> str:
    return _multiplied(e)


def _scaled(e: Emit, x: str, factor: float) -> str:
    return x if factor == 1 else e.add("Mul", x, e.constant(factor))


_GEMM = declare(
    transpose_a=boolean(False),
    transpose_b=boolean(False),
    alpha=number(1.0),
    axis=integer(-2),
)


@operator(
    "_linalg_gemm2",
    "linalg_gemm2",
    inputs=("A", "B"),
    parameters=_GEMM,
    shapes=lambda s: s.give(_product_shape(s, *s.inputs)),
)
def _gemm2(e: Emit) -> str:
    if e.a.axis != -2:
        raise e.refuse("only axis=-2 is supported")
    return _scaled(e, _multiplied(e), e.a.alpha)


def _gemm_shapes(s: Shapes) -> None:
    found = _product_shape(s, s.inputs[0], s.inputs[1])
    s.expect(2, found)
    s.give(found)


@operator(
    "_linalg_gemm",
    "linalg_gemm",
    inputs=("A", "B", "C"),
    parameters=_GEMM | declare(beta=number(1.0)),
    shapes=_gemm_shapes,
)
def _gemm(e: Emit) -> str:
    return e.add("Add", _gemm2(e), _scaled(e, e.inputs[2], e.a.beta))


def _syrk_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        size = data[-1] if s.a.transpose else data[-2]
        s.give((*data[:-2], size, size))


@operator(
    "_linalg_syrk",
    "linalg_syrk",
    inputs=("A",),
    parameters=declare(transpose=boolean(False), alpha=number(1.0)),
    shapes=_syrk_shapes,
)
def _syrk(e: Emit) -> str:
    turned = _turned(e, e.x, e.rank, transposed=True)
    pair = (turned, e.x) if e.a.transpose else (e.x, turned)
    return _scaled(e, e.add("MatMul", *pair), e.a.alpha)


def _triangular_shapes(s: Shapes) -> None:
    s.give(s.inputs[1])


@operator(
    "_linalg_trmm",
    "linalg_trmm",
    inputs=("A", "B"),
    parameters=declare(
        transpose=boolean(False), rightside=boolean(False), lower=boolean(True), alpha=number(1.0)
    ),
    shapes=_triangular_shapes,
)
def _trmm(e: Emit) -> str:
    a = e.add("Trilu", e.x, e.constant(0, np.int64), upper=int(not e.a.lower))
    a = _turned(e, a, e.rank, transposed=e.a.transpose)
    pair = (e.inputs[1], a) if e.a.rightside else (a, e.inputs[1])
    return _scaled(e, e.add("MatMul", *pair), e.a.alpha)


@operator("_contrib_div_sqrt_dim", shapes=like_first)
def _div_sqrt_dim(e: Emit) -> str:
    return e.add("Div", e.x, e.constant(np.sqrt(e.shape[-1])))


def _khatri_rao_shapes(s: Shapes) -> None:
    known = [each for each in s.inputs if each is not None]
    if len(known) == len(s.inputs) and known:
        s.give((product([each[0] for each in known]), known[0][1]))


@operator(
    "khatri_rao",
    variadic="num_args",
    parameters=declare(num_args=integer(0)),
    shapes=_khatri_rao_shapes,
)
def _khatri_rao(e: Emit) -> str:
    found, rows, columns = e.x, *e.shape
    for other, (more, _) in zip(e.inputs[1:], e.shapes[1:], strict=True):
        wide = e.add("Mul", e.unsqueeze(found, [1]), e.unsqueeze(other, [0]))
        rows *= more
        found = e.reshape(wide, (rows, columns))
    return found


_HEADS = declare(heads=integer())


def _heads(s: Shapes) -> int:
    if s.a.heads < 1:
        raise s.refuse("heads must be at least 1")
    return int(s.a.heads)


def _attention(
    *names: str, inputs: tuple[str, ...], shapes: Callable[[Shapes], None]
) -> Callable[[Callable[[Emit], str]], Callable[[Emit], str]]:
    return operator(*names, inputs=inputs, parameters=_HEADS, shapes=shapes)


def _part(e: Emit, index: int, parts: int, which: int) -> str:
    """One of the tensors that lie interleaved in an input: (batch * heads, time, size)."""
    time, batch, width = e.shapes[index]
    size = width // e.a.heads // parts
    x = e.reshape(e.inputs[index], (time, batch * e.a.heads, parts, size))
    if parts > 1:
        x = e.slice(x, [which], [which + 1], [2])
    return e.transpose(e.reshape(x, (time, batch * e.a.heads, size)), (1, 0, 2))


def _scores(e: Emit, queries: str, keys: str, size: int) -> str:
    queries = e.add("Mul", queries, e.constant(1 / np.sqrt(size)))
    return e.add("MatMul", queries, e.transpose(keys, (0, 2, 1)))


def _weighted(e: Emit, values: str, width: int, attention: str) -> str:
    rows, batch, _ = e.out_shape
    found = e.transpose(e.add("MatMul", attention, values), (1, 0, 2))
    return e.reshape(found, (rows, batch, width))


def _self_scores_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give((data[1] * _heads(s), data[0], data[0]))


@_attention(
    "_contrib_interleaved_matmul_selfatt_qk",
    inputs=("queries_keys_values",),
    shapes=_self_scores_shapes,
)
def _self_scores(e: Emit) -> str:
    size = e.shape[2] // 3 // e.a.heads
    return _scores(e, _part(e, 0, 3, 0), _part(e, 0, 3, 1), size)


def _self_values_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.expect(1, (data[1] * _heads(s), data[0], data[0]))
        s.give((data[0], data[1], data[2] // 3))


@_attention(
    "_contrib_interleaved_matmul_selfatt_valatt",
    inputs=("queries_keys_values", "attention"),
    shapes=_self_values_shapes,
)
def _self_values(e: Emit) -> str:
    return _weighted(e, _part(e, 0, 3, 2), e.shape[2] // 3, e.inputs[1])


def _other_scores_shapes(s: Shapes) -> None:
    queries, keys = s.inputs
    if queries is not None and keys is not None:
        s.give((queries[1] * _heads(s), queries[0], keys[0]))


@_attention(
    "_contrib_interleaved_matmul_encdec_qk",
    inputs=("queries", "keys_values"),
    shapes=_other_scores_shapes,
)
def _other_scores(e: Emit) -> str:
    return _scores(e, _part(e, 0, 1, 0), _part(e, 1, 2, 0), e.shape[2] // e.a.heads)


def _other_values_shapes(s: Shapes) -> None:
    keys, attention = s.inputs
    if keys is not None and attention is not None:
        s.give((attention[1], keys[1], keys[2] // 2))


@_attention(
    "_contrib_interleaved_matmul_encdec_valatt",
    inputs=("keys_values", "attention"),
    shapes=_other_values_shapes,
)
def _other_values(e: Emit) -> str:
    return _weighted(e, _part(e, 0, 2, 1), e.shape[2] // 2, e.inputs[1])
