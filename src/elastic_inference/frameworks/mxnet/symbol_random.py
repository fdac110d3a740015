"""`mx.sym.random`: symbols of numbers that are drawn anew in each call, on the instance."""

from __future__ import annotations

from typing import Any

from elastic_inference.frameworks.mxnet import distributions
from elastic_inference.frameworks.mxnet.symbol import Symbol, compose


def uniform(
    low: Any = 0, high: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any
) -> Symbol:
    """Numbers of one distribution; or of many, where its parameters are symbols."""
    return _drawn("uniform", (low, high), shape, dtype, keywords)


def normal(
    loc: Any = 0, scale: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any
) -> Symbol:
    return _drawn("normal", (loc, scale), shape, dtype, keywords)


def randn(*shape: int, **keywords: Any) -> Symbol:
    loc, scale = keywords.pop("loc", 0), keywords.pop("scale", 1)
    dtype = keywords.pop("dtype", None)
    return _drawn("normal", (loc, scale), shape, dtype, keywords)


def randint(low: int, high: int, shape: Any = None, dtype: Any = None, **keywords: Any) -> Symbol:
    return _drawn("randint", (low, high), shape, dtype, keywords)


def exponential(scale: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any) -> Symbol:
    return _drawn("exponential", (1.0 / scale,), shape, dtype, keywords)


def poisson(lam: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any) -> Symbol:
    return _drawn("poisson", (lam,), shape, dtype, keywords)


def gamma(
    alpha: Any = 1, beta: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any
) -> Symbol:
    return _drawn("gamma", (alpha, beta), shape, dtype, keywords)


def negative_binomial(
    k: Any = 1, p: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any
) -> Symbol:
    return _drawn("negative_binomial", (k, p), shape, dtype, keywords)


def generalized_negative_binomial(
    mu: Any = 1, alpha: Any = 1, shape: Any = None, dtype: Any = None, **keywords: Any
) -> Symbol:
    return _drawn("generalized_negative_binomial", (mu, alpha), shape, dtype, keywords)


def multinomial(
    data: Symbol, shape: Any = None, get_prob: bool = True, dtype: Any = "int32", **keywords: Any
) -> Symbol:
    """Classes by their probabilities, and the logarithm of the probability of each."""
    settings = {"get_prob": get_prob, "dtype": dtype, **keywords}
    if shape is not None:
        settings["shape"] = shape
    return compose("_sample_multinomial", "_sample_multinomial", (data,), settings)


def shuffle(data: Symbol, **keywords: Any) -> Symbol:
    """The first axis in another order."""
    return compose("_shuffle", "_shuffle", (data,), keywords)


def _drawn(
    name: str, parameters: tuple[Any, ...], shape: Any, dtype: Any, keywords: dict[str, Any]
) -> Symbol:
    settings = {"shape": shape, "dtype": dtype}
    given = {key: each for key, each in settings.items() if each is not None} | keywords
    if distributions.are_many(parameters, Symbol):
        operator = f"_sample_{name}"
        return compose(operator, operator, parameters, given)
    operator = f"_random_{name}"
    return compose(operator, operator, (), distributions.named(name, parameters) | given)


__all__ = [
    "exponential",
    "gamma",
    "generalized_negative_binomial",
    "multinomial",
    "negative_binomial",
    "normal",
    "poisson",
    "randint",
    "randn",
    "shuffle",
    "uniform",
]
