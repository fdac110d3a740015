"""Operators that draw numbers: new ones in each call, others than MXNet's.

They run on the instance, where `mx.random.seed` begins their sequence again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import chance
from elastic_inference.frameworks.mxnet.attributes import (
    Parameter,
    boolean,
    declare,
    dtype,
    integer,
    number,
    shape,
    text,
)
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, like_first, merged
from elastic_inference.frameworks.mxnet.table import Operator, enter
from elastic_inference.protocol.tensors import Array

_MADE = declare(shape=shape(()), ctx=text(""), dtype=dtype(None))


@dataclass(frozen=True, slots=True)
class _Distribution:
    """One to draw from.

    Attributes:
        parameters: of the operators for one distribution.
        arrays: what the operator for many distributions calls the same parameters.
        draw: takes a generator, the parameters, and the shape of what is wanted.
        short: it has a name without a prefix as well.
    """

    parameters: Mapping[str, Parameter]
    arrays: tuple[str, ...]
    draw: Callable[..., Any]
    short: bool = False


def _negative_binomial(chance_: np.random.Generator, k: Any, p: Any, size: Any) -> Any:
    return chance_.poisson(chance_.gamma(k, (1 - p) / p, size))


def _generalized(chance_: np.random.Generator, mu: Any, alpha: Any, size: Any) -> Any:
    mu, alpha = np.broadcast_to(mu, size), np.broadcast_to(alpha, size)
    # Without dispersion it is Poisson's.
    spread = np.where(alpha > 0, alpha, 1)
    return chance_.poisson(np.where(alpha > 0, chance_.gamma(1 / spread, spread * mu), mu))


_DISTRIBUTIONS: Mapping[str, _Distribution] = {
    "normal": _Distribution(
        declare(loc=number(0.0), scale=number(1.0)),
        ("mu", "sigma"),
        lambda by, loc, scale, size: by.normal(loc, scale, size),
        short=True,
    ),
    "uniform": _Distribution(
        declare(low=number(0.0), high=number(1.0)),
        ("low", "high"),
        lambda by, low, high, size: by.uniform(low, high, size),
        short=True,
    ),
    "gamma": _Distribution(
        declare(alpha=number(1.0), beta=number(1.0)),
        ("alpha", "beta"),
        lambda by, alpha, beta, size: by.gamma(alpha, beta, size),
    ),
    "exponential": _Distribution(
        declare(lam=number(1.0)),
        ("lam",),
        lambda by, lam, size: by.exponential(np.divide(1, lam), size),
    ),
    "poisson": _Distribution(
        declare(lam=number(1.0)), ("lam",), lambda by, lam, size: by.poisson(lam, size)
    ),
    "negative_binomial": _Distribution(
        declare(k=integer(1), p=number(1.0)), ("k", "p"), _negative_binomial
    ),
    "generalized_negative_binomial": _Distribution(
        declare(mu=number(1.0), alpha=number(1.0)), ("mu", "alpha"), _generalized
    ),
}


def _given_shape(s: Shapes) -> None:
    s.give(s.a.shape or (1,))


def _given_type(t: Types) -> None:
    t.give(t.a.dtype or np.float32)


def _many_shapes(s: Shapes) -> None:
    """For each element of the parameters as many numbers as the attribute says."""
    found = None
    for each in s.inputs:
        found = merged(found, each)
    for index in range(len(s.inputs)):
        s.expect(index, found)
    if found is not None:
        s.give((*found, *s.a.shape))


def _many_types(t: Types) -> None:
    known = next((each for each in t.inputs if each is not None), None)
    for index in range(len(t.inputs)):
        t.expect(index, known)
    t.give(t.a.dtype or np.float32)


def _enter(name: str, found: _Distribution) -> None:
    def values(a: Any) -> list[Any]:
        return [getattr(a, each) for each in found.parameters]

    def one(a: Any) -> Array:
        drawn = found.draw(chance.generator(), *values(a), a.shape or (1,))
        return np.asarray(drawn, a.dtype or np.float32)

    def like(a: Any, data: Array) -> Array:
        return np.asarray(found.draw(chance.generator(), *values(a), data.shape), data.dtype)

    def many(a: Any, *arrays: Array) -> Array:
        size = (*arrays[0].shape, *a.shape)
        ends = (1,) * len(a.shape)
        spread = [each.reshape(each.shape + ends).astype(np.float64) for each in arrays]
        return np.asarray(found.draw(chance.generator(), *spread, size), a.dtype or np.float32)

    short = (name,) if found.short else ()
    enter(
        Operator(
            f"_random_{name}", (), {**found.parameters, **_MADE}, _given_shape, _given_type,
            aliases=(f"random_{name}", *short), numpy=one,
        )
    )  # fmt: skip
    enter(Operator(f"_random_{name}_like", ("data",), found.parameters, like_first, numpy=like))
    enter(
        Operator(
            f"_sample_{name}", found.arrays, declare(shape=shape(()), dtype=dtype(None)),
            _many_shapes, _many_types, aliases=(f"sample_{name}",), numpy=many,
        )
    )  # fmt: skip


for _name, _found in _DISTRIBUTIONS.items():
    _enter(_name, _found)


def _whole(a: Any) -> Array:
    return chance.generator().integers(a.low, a.high, a.shape or (1,), a.dtype or np.int32)


enter(
    Operator(
        "_random_randint",
        (),
        declare(low=integer(), high=integer(), **_MADE),
        _given_shape,
        lambda t: t.give(t.a.dtype or np.int32),
        aliases=("random_randint",),
        numpy=_whole,
    )
)
enter(
    Operator(
        "_shuffle",
        ("data",),
        {},
        like_first,
        aliases=("shuffle",),
        numpy=lambda _, data: chance.generator().permutation(data, axis=0),
    )
)


def _multinomial_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        for index in range(len(s.outputs)):
            s.give((*data[:-1], *s.a.shape) or (1,), index)


def _multinomial_types(t: Types) -> None:
    t.give(t.a.dtype)
    if t.a.get_prob:
        t.give(t.inputs[0], 1)


def _multinomial(a: Any, data: Array) -> Any:
    """Classes by their probabilities, and the logarithm of the probability of each."""
    rows = data.reshape(-1, data.shape[-1])
    wanted = chance.generator().random((len(rows), int(np.prod(a.shape, dtype=np.int64))))
    sums = rows.cumsum(1, np.float64)
    drawn = np.stack([np.searchsorted(*each, "right") for each in zip(sums, wanted, strict=True)])
    # Probabilities that add up to less than 1 leave the rest to the last class.
    drawn = np.minimum(drawn, data.shape[-1] - 1)
    shaped = (*data.shape[:-1], *a.shape) or (1,)
    classes = drawn.reshape(shaped).astype(a.dtype)
    if not a.get_prob:
        return classes
    with np.errstate(divide="ignore"):
        return classes, np.log(np.take_along_axis(rows, drawn, 1)).reshape(shaped)


enter(
    Operator(
        "_sample_multinomial",
        ("data",),
        declare(shape=shape(()), get_prob=boolean(False), dtype=dtype(np.int32)),
        _multinomial_shapes,
        _multinomial_types,
        aliases=("sample_multinomial",),
        outputs=lambda a: 2 if a.get_prob else 1,
        numpy=_multinomial,
    )
)
