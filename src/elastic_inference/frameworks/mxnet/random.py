"""Random arrays, from one generator that `seed` starts anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.arrays import check_place, dtype_of
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap

_state = {"generator": np.random.default_rng()}


def seed(seed_state: int, ctx: Any = "all") -> None:
    """Begin the same sequence again."""
    del ctx  # there is one generator
    _state["generator"] = np.random.default_rng(seed_state)


def normal(
    loc: float = 0.0,
    scale: float = 1.0,
    shape: Any = (1,),
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    drawn = _state["generator"].normal(loc, scale, _of(shape, out))
    return _made(drawn, dtype, ctx, out, "_random_normal")


def randn(*shape: int, loc: float = 0.0, scale: float = 1.0, **keywords: Any) -> NDArray:
    return normal(loc, scale, shape or (1,), **keywords)


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    shape: Any = (1,),
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    drawn = _state["generator"].uniform(low, high, _of(shape, out))
    return _made(drawn, dtype, ctx, out, "_random_uniform")


def randint(
    low: int,
    high: int,
    shape: Any = (1,),
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    drawn = _state["generator"].integers(low, high, _of(shape, out))
    return _made(drawn, dtype or np.int32, ctx, out, "_random_randint")


def exponential(
    scale: float = 1.0, shape: Any = (1,), dtype: Any = None, ctx: Context | None = None
) -> NDArray:
    drawn = _state["generator"].exponential(scale, shape)
    return _made(drawn, dtype, ctx, None, "_random_exponential")


def poisson(
    lam: float = 1.0, shape: Any = (1,), dtype: Any = None, ctx: Context | None = None
) -> NDArray:
    drawn = _state["generator"].poisson(lam, shape)
    return _made(drawn, dtype, ctx, None, "_random_poisson")


def shuffle(data: NDArray) -> NDArray:
    """The array with its first axis in another order."""
    return wrap(_state["generator"].permutation(data.array, axis=0), data.context)


def _of(shape: Any, out: NDArray | None) -> Any:
    return shape if out is None else out.shape


def _made(
    drawn: Any, dtype: Any, ctx: Context | None, out: NDArray | None, operator: str
) -> NDArray:
    check_place(ctx or current_context(), operator)
    made = wrap(np.asarray(drawn).astype(dtype_of(dtype)), ctx)
    if out is None:
        return made
    out[:] = made
    return out
