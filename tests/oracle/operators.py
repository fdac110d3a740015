"""Asks MXNet what every case of the grids gives, compares, and writes it down."""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import symbol_json, table
from elastic_inference.frameworks.mxnet.translate import translate
from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.running import Loaded
from tests.frameworks.mxnet.translate.cases import Case
from tests.oracle.mxnet import mx

# In the file of expected results, a case that MXNet refuses.
REFUSED = "refused"


def expected(case: Case) -> list[Array]:
    """MXNet's results for a case."""
    symbol = mx.sym.load_json(case.symbol(visible(case)))
    arrays = {name: mx.nd.array(each, dtype=each.dtype) for name, each in case.arrays().items()}
    states = set(symbol.list_auxiliary_states())
    executor = symbol.bind(
        mx.cpu(),
        {name: each for name, each in arrays.items() if name not in states},
        aux_states={name: each for name, each in arrays.items() if name in states},
        grad_req="null",
    )
    _check_names(case, symbol)
    return [each.asnumpy() for each in executor.forward(is_train=False)]


def _check_names(case: Case, symbol: Any) -> None:
    """Names of inputs, states, outputs and internals are MXNet's."""
    graph = symbol_json.loads(case.symbol(visible(case))).graph
    assert [node.name for node in graph.arguments()] == symbol.list_arguments(), case.name
    states = [node.name for node in graph.auxiliary_states()]
    assert states == symbol.list_auxiliary_states(), case.name
    assert graph.output_names() == symbol.list_outputs(), case.name
    internals = symbol.get_internals().list_outputs()
    assert graph.internals().output_names() == internals, case.name


def visible(case: Case) -> int:
    """How many results the operator shows."""
    found = table.find(case.operator)
    assert found is not None, case.operator
    return found.visible(found.parse(dict(case.attributes), "node"))


def ours(case: Case, *, constants: int = 0) -> list[Array]:
    """Our results for a case.

    Args:
        constants: from this input on they are weights of the model.
    """
    graph = symbol_json.loads(case.symbol(visible(case))).graph
    arrays = case.arrays()
    names = list(arrays)
    fed = names[: constants or len(names)]
    translation = translate(
        graph,
        {name: arrays[name] for name in names if name not in fed},
        {name: (arrays[name].shape, arrays[name].dtype) for name in fed},
    )
    return Loaded(translation).run({name: arrays[name] for name in fed})


def difference(mine: Array, theirs: Array) -> float:
    """The largest difference, relative to the largest value; infinite where they are unlike."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return np.inf
    if theirs.dtype.kind != "f":
        return 0.0 if np.array_equal(mine, theirs) else np.inf
    a, b = mine.astype(np.float64), theirs.astype(np.float64)
    odd = ~np.isfinite(b)
    if not np.array_equal(a[odd], b[odd], equal_nan=True):
        return np.inf
    scale = max(float(np.abs(b[~odd]).max(initial=0)), 1e-30)
    return float(np.abs(a[~odd] - b[~odd]).max(initial=0)) / scale


def compare(cases: Iterable[Case]) -> tuple[dict[str, Any], list[str]]:
    """What MXNet gives for each case, and what goes wrong; prints counts."""
    found: dict[str, Any] = {}
    wrong: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    for case in cases:
        try:
            theirs = expected(case)
        except mx.base.MXNetError as error:
            wrong.append(f"MXNet refuses {case.name}: {str(error).splitlines()[-1][:200]}")
            continue
        found[case.name] = theirs
        counts[case.operator] += 1
        try:
            mine = ours(case)
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            wrong.append(f"{case.name}: {type(error).__name__} {str(error)[:300]}")
            continue
        if len(mine) != len(theirs):
            wrong.append(f"{case.name}: {len(mine)} results instead of {len(theirs)}")
            continue
        errors = [difference(a, b) for a, b in zip(mine, theirs, strict=True)]
        if max(errors) > case.tolerance:
            shown = [
                (str(a.dtype), a.shape, str(b.dtype), b.shape)
                for a, b in zip(mine, theirs, strict=True)
            ]
            wrong.append(f"{case.name}: {errors} {shown}")
    sys.stdout.write(
        f"{sum(counts.values())} cases of {len(counts)} operators, {len(wrong)} wrong\n"
    )
    return found, wrong
