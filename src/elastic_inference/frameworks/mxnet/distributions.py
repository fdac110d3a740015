"""How functions that draw tell one distribution from many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.errors import assertion_error, value_error

# What operators for one distribution call its parameters.
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "normal": ("loc", "scale"),
        "uniform": ("low", "high"),
        "randint": ("low", "high"),
        "exponential": ("lam",),
        "poisson": ("lam",),
        "gamma": ("alpha", "beta"),
        "negative_binomial": ("k", "p"),
        "generalized_negative_binomial": ("mu", "alpha"),
    }
)


def named(distribution: str, parameters: Sequence[Any]) -> dict[str, Any]:
    """The parameters of one distribution, by the names of its operator's attributes."""
    return dict(zip(_NAMES[distribution], parameters, strict=True))


def are_many(parameters: Sequence[Any], kind: type) -> bool:
    """Whether the parameters are of `kind`, and not numbers.

    Raises:
        AssertionError: some are, and some are not.
        ValueError: they are neither.
    """
    first = parameters[0]
    wanted = kind if isinstance(first, kind) else (int, float, np.number)
    if not isinstance(first, wanted):
        raise value_error(
            f"Distribution parameters must be either {kind.__name__} or numbers, "
            f"but got {type(first)}."
        )
    for each in parameters[1:]:
        if not isinstance(each, wanted):
            raise assertion_error(
                "Distribution parameters must all have the same type, but got both "
                f"{type(first)} and {type(each)}."
            )
    return wanted is kind
