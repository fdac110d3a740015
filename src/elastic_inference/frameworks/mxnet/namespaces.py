"""Modules whose functions are the operators of the table: `mx.nd`, `mx.sym` and those in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import (
    creation,
    imperative,
    random,
    symbol,
    symbol_random,
    table,
)
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.frameworks.mxnet.symbol import Symbol, compose

_Call = Callable[..., Any]
# What is in front of an operator's name in each module inside of `mx.nd` and `mx.sym`.
_INSIDE = {
    "op": "",
    "_op": "",
    "sparse": "",
    "contrib": "_contrib_",
    "image": "_image_",
    "linalg": "_linalg_",
    "_internal": "_",
}
_DRAWN = {
    "normal": random.normal,
    "uniform": random.uniform,
    "randn": random.randn,
    "randint": random.randint,
    "exponential": random.exponential,
    "poisson": random.poisson,
    "gamma": random.gamma,
    "negative_binomial": random.negative_binomial,
    "generalized_negative_binomial": random.generalized_negative_binomial,
    "multinomial": random.multinomial,
    "shuffle": random.shuffle,
}


class Operators(ModuleType):
    """A module with a function for each operator whose name begins with `prefix`.

    Args:
        apply: calls an operator: takes its name, the function's name, and what it is given.
        further: other things that are in the module.
    """

    def __init__(self, name: str, prefix: str, apply: _Call, further: Mapping[str, Any]) -> None:
        super().__init__(name, f"Operators as functions; `dir({name})` lists them.")
        self._prefix = prefix
        self._apply = apply
        self.__dict__.update(further)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = next((each for each in self._candidates(name) if table.find(each)), None)
        if full is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        made = _function(self._apply, full, name)
        self.__dict__[name] = made
        return made

    def _candidates(self, name: str) -> tuple[str, ...]:
        # A few have the prefix in their names without its underscore in front.
        return f"{self._prefix}{name}", f"{self._prefix.lstrip('_')}{name}"

    def __dir__(self) -> list[str]:
        names = [name.removeprefix(self._prefix) for name in table.operators()
                 if name.startswith(self._prefix)]  # fmt: skip
        return sorted({*self.__dict__, *(each for each in names if not each.startswith("_"))})


def _function(apply: _Call, full: str, name: str) -> _Call:
    operator = table.find(full)

    def function(*arguments: Any, **keywords: Any) -> Any:
        return apply(full, name, *arguments, **keywords)

    function.__name__ = function.__qualname__ = name
    if operator is not None:
        listed = "\n".join(
            f"    {each}: {parameter.kind}" for each, parameter in operator.parameters.items()
        )
        function.__doc__ = f"The operator {operator.name}.\n\nAttributes:\n{listed or '    none'}\n"
    return function


def _at_once(full: str, _name: str, /, *arguments: Any, **keywords: Any) -> Any:
    return imperative.call(full, *arguments, **keywords)


def _later(full: str, name: str, /, *arguments: Any, **keywords: Any) -> Any:
    return compose(full, name.lower(), arguments, keywords)


def _of_two(function: _Call) -> _Call:
    """A function of two arrays, or of an array and a number."""

    def compute(lhs: Any, rhs: Any) -> Any:
        left = lhs.array if isinstance(lhs, NDArray) else lhs
        right = rhs.array if isinstance(rhs, NDArray) else rhs
        first = lhs if isinstance(lhs, NDArray) else rhs
        if not isinstance(first, NDArray):
            return function(left, right)
        return wrap(np.asarray(function(left, right)).astype(first.dtype), first.context)

    return compute


def _symbol_of_two(both: str, scalar: str, swapped: str) -> _Call:
    def combine(left: Any, right: Any) -> Any:
        if isinstance(left, Symbol) and isinstance(right, Symbol):
            return compose(both, both.lower(), (left, right), {})
        if isinstance(left, Symbol):
            return compose(scalar, scalar.lower(), (left,), {"scalar": right})
        return compose(swapped, swapped.lower(), (right,), {"scalar": left})

    return combine


def _zeros(shape: Any, dtype: Any = None, **keywords: Any) -> Symbol:
    return compose(
        "_zeros", "_zeros", (), {"shape": shape, "dtype": dtype or "float32", **keywords}
    )


def _ones(shape: Any, dtype: Any = None, **keywords: Any) -> Symbol:
    return compose("_ones", "_ones", (), {"shape": shape, "dtype": dtype or "float32", **keywords})


def _full(shape: Any, val: float, dtype: Any = None, **keywords: Any) -> Symbol:
    settings = {"shape": shape, "value": val, "dtype": dtype or "float32", **keywords}
    return compose("_full", "_full", (), settings)


def _arange(
    start: float, stop: Any = None, step: float = 1.0, repeat: int = 1, **keywords: Any
) -> Symbol:
    dtype = keywords.pop("dtype", None) or "float32"
    keywords.pop("infer_range", None)
    settings = {"start": start, "stop": stop, "step": step, "repeat": repeat, "dtype": dtype}
    return compose("_arange", "_arange", (), {**settings, **keywords})


def _eye(N: int, M: int = 0, k: int = 0, dtype: Any = None, **keywords: Any) -> Symbol:  # noqa: N803
    settings = {"N": N, "M": M, "k": k, "dtype": dtype or "float32", **keywords}
    return compose("_eye", "_eye", (), settings)


_TWO: dict[str, _Call] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.true_divide,
    "true_divide": np.true_divide,
    "modulo": np.mod,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "lesser": np.less,
    "lesser_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def ndarray_module(name: str) -> Operators:
    """`mx.nd`."""
    drawn = {f"random_{each}": function for each, function in _DRAWN.items()}
    further = {each: getattr(creation, each) for each in creation.__all__}
    further |= {each: _of_two(function) for each, function in _TWO.items()}
    further |= {"NDArray": NDArray, **drawn, "normal": random.normal, "uniform": random.uniform}
    further["shuffle"] = random.shuffle
    made = Operators(name, "", _at_once, further)
    _fill(made, _at_once, random)
    made.__dict__["_internal"].__dict__["NDArray"] = NDArray
    return made


def symbol_module(name: str) -> Operators:
    """`mx.sym`."""
    further: dict[str, Any] = {each: getattr(symbol, each) for each in symbol.__all__}
    further |= {"zeros": _zeros, "ones": _ones, "full": _full, "arange": _arange, "eye": _eye}
    further |= {
        "pow": _symbol_of_two("_Power", "_PowerScalar", "_RPowerScalar"),
        "power": _symbol_of_two("_Power", "_PowerScalar", "_RPowerScalar"),
        "maximum": _symbol_of_two("_Maximum", "_MaximumScalar", "_MaximumScalar"),
        "minimum": _symbol_of_two("_Minimum", "_MinimumScalar", "_MinimumScalar"),
        "hypot": _symbol_of_two("_Hypot", "_HypotScalar", "_HypotScalar"),
    }
    made = Operators(name, "", _later, further)
    drawing = {each: getattr(symbol_random, each) for each in symbol_random.__all__}
    _fill(made, _later, Operators(f"{name}.random", "_random_", _later, drawing))
    return made


def _fill(module: Operators, apply: _Call, drawing: ModuleType) -> None:
    for inside, prefix in _INSIDE.items():
        module.__dict__[inside] = Operators(f"{module.__name__}.{inside}", prefix, apply, {})
    module.__dict__["random"] = drawing
