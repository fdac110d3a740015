"""Random arrays, from one sequence that `seed` begins anew; models draw from it as well."""

from __future__ import annotations

from typing import Any

from elastic_inference.frameworks.mxnet import chance, distributions, imperative
from elastic_inference.frameworks.mxnet.context import Context
from elastic_inference.frameworks.mxnet.ndarray import NDArray


def seed(seed_state: int, ctx: Any = "all") -> None:
    """Begin the same sequence again."""
    del ctx  # there is one sequence
    chance.seed(seed_state)


def normal(
    loc: Any = 0.0,
    scale: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Numbers of one distribution; or of many, where its parameters are arrays."""
    return _drawn("normal", (loc, scale), shape, dtype, ctx, out)


def randn(*shape: int, loc: Any = 0.0, scale: Any = 1.0, **keywords: Any) -> NDArray:
    return normal(loc, scale, shape or None, **keywords)


def uniform(
    low: Any = 0.0,
    high: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("uniform", (low, high), shape, dtype, ctx, out)


def randint(
    low: int,
    high: int,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("randint", (low, high), shape, dtype, ctx, out)


def exponential(
    scale: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("exponential", (1.0 / scale,), shape, dtype, ctx, out)


def poisson(
    lam: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("poisson", (lam,), shape, dtype, ctx, out)


def gamma(
    alpha: Any = 1.0,
    beta: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("gamma", (alpha, beta), shape, dtype, ctx, out)


def negative_binomial(
    k: Any = 1,
    p: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("negative_binomial", (k, p), shape, dtype, ctx, out)


def generalized_negative_binomial(
    mu: Any = 1.0,
    alpha: Any = 1.0,
    shape: Any = None,
    dtype: Any = None,
    ctx: Context | None = None,
    out: NDArray | None = None,
) -> NDArray:
    return _drawn("generalized_negative_binomial", (mu, alpha), shape, dtype, ctx, out)


def multinomial(
    data: NDArray,
    shape: Any = None,
    get_prob: bool = False,
    out: Any = None,
    dtype: Any = "int32",
    **keywords: Any,
) -> Any:
    """Classes by their probabilities, which are the last dimension of `data`."""
    settings = {"shape": shape or (), "get_prob": get_prob, "dtype": dtype}
    return imperative.call("_sample_multinomial", data, out=out, **settings, **keywords)


def shuffle(data: NDArray, **keywords: Any) -> Any:
    """The array with its first axis in another order."""
    return imperative.call("_shuffle", data, **keywords)


def _drawn(
    name: str,
    parameters: tuple[Any, ...],
    shape: Any,
    dtype: Any,
    ctx: Context | None,
    out: NDArray | None,
) -> NDArray:
    settings = {"dtype": dtype, "ctx": ctx, "out": out}
    if distributions.are_many(parameters, NDArray):
        settings["shape"] = () if shape is None else shape
        operator, named = f"_sample_{name}", {}
    else:
        settings["shape"] = (out.shape if out is not None else (1,)) if shape is None else shape
        operator, named = f"_random_{name}", distributions.named(name, parameters)
        parameters = ()
    drawn: NDArray = imperative.call(operator, *parameters, **named, **settings)
    return drawn
