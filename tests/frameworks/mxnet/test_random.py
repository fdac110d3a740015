"""Symbols and arrays of drawn numbers: from a seed, of the right distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.protocol.tensors import Array

R = mx.sym.random
_COUNT = 40_000
# Function, parameters, and the mean and the variance that follow.
_DISTRIBUTIONS = [
    ("normal", (1.0, 2.0), 1, 4),
    ("uniform", (-1.0, 3.0), 1, 16 / 12),
    ("gamma", (2.0, 3.0), 6, 18),
    ("exponential", (2.0,), 2, 4),
    ("poisson", (3.0,), 3, 3),
    ("negative_binomial", (3, 0.4), 4.5, 11.25),
    ("generalized_negative_binomial", (3.0, 0.4), 3, 6.6),
    ("generalized_negative_binomial", (3.0, 0.0), 3, 3),
]


def evaluated(symbol: Any, **arrays: Any) -> list[Array]:
    given = {name: mx.nd.array(each) for name, each in arrays.items()}
    return [each.asnumpy() for each in symbol.bind(mx.cpu(), given).forward()]


def is_like(drawn: Array, mean: float, variance: float) -> bool:
    return bool(
        abs(drawn.mean() - mean) < 0.05 * variance**0.5
        and abs(drawn.var() - variance) < 0.1 * variance
    )


@pytest.mark.parametrize(("name", "parameters", "mean", "variance"), _DISTRIBUTIONS)
def test_a_distribution(
    name: str, parameters: tuple[float, ...], mean: float, variance: float
) -> None:
    mx.random.seed(5)
    (drawn,) = evaluated(getattr(R, name)(*parameters, shape=(2, _COUNT)))
    assert drawn.shape == (2, _COUNT)
    assert drawn.dtype == np.float32
    assert is_like(drawn, mean, variance)
    array = getattr(mx.nd.random, name)(*parameters, shape=(2, _COUNT)).asnumpy()
    assert is_like(array, mean, variance)
    assert not np.array_equal(array, drawn)


@pytest.mark.parametrize(("name", "parameters", "mean", "variance"), _DISTRIBUTIONS)
def test_many_distributions(
    name: str, parameters: tuple[float, ...], mean: float, variance: float
) -> None:
    mx.random.seed(6)
    variables = [mx.sym.var(f"x{index}") for index in range(len(parameters))]
    symbol = getattr(R, name)(*variables, shape=_COUNT)
    arrays = {f"x{index}": np.array([each] * 2) for index, each in enumerate(parameters)}
    assert symbol.infer_shape(x0=(2,))[1] == [(2, _COUNT)]
    (drawn,) = evaluated(symbol, **arrays)
    assert all(is_like(each, mean, variance) for each in drawn)
    given = [mx.nd.array(each) for each in arrays.values()]
    assert is_like(getattr(mx.nd.random, name)(*given, shape=_COUNT).asnumpy(), mean, variance)


@pytest.mark.parametrize(("name", "parameters", "mean", "variance"), _DISTRIBUTIONS)
def test_like_an_array(
    name: str, parameters: tuple[float, ...], mean: float, variance: float
) -> None:
    del parameters, mean, variance  # as MXNet, the function takes none by position
    (drawn,) = evaluated(getattr(R, f"{name}_like")(mx.sym.var("x")), x=np.zeros((3, 4)))
    assert drawn.shape == (3, 4)


@pytest.mark.parametrize(
    ("symbol", "name", "attributes"),
    [
        (lambda: R.uniform(shape=(2, 3)), "_random_uniform", {"low": "0", "high": "1"}),
        (lambda: R.randn(2, 3), "_random_normal", {"loc": "0", "scale": "1"}),
        (lambda: R.exponential(2.0, shape=(2, 3)), "_random_exponential", {"lam": "0.5"}),
        (lambda: R.randint(1, 5, shape=(2, 3)), "_random_randint", {"low": "1", "high": "5"}),
    ],
)
def test_nodes_are_those_of_mxnet(
    symbol: Callable[[], Any], name: str, attributes: dict[str, str]
) -> None:
    with mx.name.NameManager():
        made = symbol()
    assert made.list_outputs() == [f"{name}0_output"]
    assert made.attr_dict()[f"{name}0"] == {**attributes, "shape": "(2, 3)"}


def test_whole_numbers() -> None:
    symbol = R.randint(2, 5, shape=(1000,))
    assert symbol.infer_type()[1] == [np.int32]
    (drawn,) = evaluated(symbol)
    assert sorted(set(drawn.tolist())) == [2, 3, 4]
    assert evaluated(R.randint(2, 5, shape=(3,), dtype="int64"))[0].dtype == np.int64


def test_classes_by_their_probability() -> None:
    mx.random.seed(8)
    symbol = R.multinomial(mx.sym.var("p"), shape=_COUNT)
    shares = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], np.float32)
    assert symbol.infer_shape(p=(2, 3))[1] == [(2, _COUNT)] * 2
    drawn, logarithms = evaluated(symbol, p=shares)
    for row, share in zip(drawn, shares, strict=True):
        np.testing.assert_allclose(np.bincount(row, minlength=3) / _COUNT, share, atol=0.02)
    np.testing.assert_allclose(logarithms[0], np.log(shares[0])[drawn[0]], rtol=1e-6)
    (single,) = evaluated(R.multinomial(mx.sym.var("p"), get_prob=False), p=[0, 1])
    assert single.tolist() == [1]
    assert mx.nd.random.multinomial(mx.nd.array([0, 0, 1]), shape=2).asnumpy().tolist() == [2, 2]


def test_rows_in_another_order() -> None:
    rows = np.arange(200).reshape(100, 2)
    (found,) = evaluated(R.shuffle(mx.sym.var("x")), x=rows)
    assert found.tolist() != rows.tolist()
    assert sorted(found.tolist()) == rows.tolist()


def test_a_seed_repeats_what_models_draw() -> None:
    """Also where nobody waits for a result before the next begins, or the seed is set again."""
    net = mx.sym.exp(mx.sym.var("x") + R.normal(shape=(4,)))
    executor = net.bind(mx.cpu(), {"x": mx.nd.zeros((4,))})

    def runs() -> list[list[float]]:
        mx.random.seed(-3)
        copies = [executor.forward()[0].copy() for _ in range(6)]
        other = mx.nd.random.normal(shape=(4,))
        return [each.asnumpy().tolist() for each in (*copies, other)]

    first, second = runs(), runs()
    assert first == second
    assert len({tuple(each) for each in first}) == 7


def test_what_is_drawn_is_used_by_the_rest_of_a_graph() -> None:
    noise = R.normal(0, 1, shape=(3, 5))
    net = mx.sym.Group([mx.sym.FullyConnected(noise, num_hidden=2, name="fc"), noise])
    weights = {"fc_weight": mx.nd.ones((2, 5)), "fc_bias": mx.nd.zeros((2,))}
    out, drawn = (each.asnumpy() for each in net.bind(mx.cpu(), weights).forward())
    np.testing.assert_allclose(out, drawn.sum(1, keepdims=True).repeat(2, 1), rtol=1e-5)


def test_parameters_of_two_kinds_are_refused() -> None:
    x = mx.sym.var("x")
    with pytest.raises(AssertionError, match="must all have the same type"):
        R.uniform(x, 2.0)
    with pytest.raises(ValueError, match="must be either Symbol or numbers"):
        R.uniform("low", "high")
    with pytest.raises(ValueError, match="must be either NDArray or numbers"):
        mx.random.uniform(x, x)
    with pytest.raises(AssertionError, match="must all have the same type"):
        mx.nd.random.normal(mx.nd.zeros((2,)), 1.0)
