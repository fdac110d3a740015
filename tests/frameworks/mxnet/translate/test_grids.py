"""Every case of the grids gives what real MXNet gave."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from elastic_inference.frameworks.mxnet import symbol_json, table
from elastic_inference.frameworks.mxnet.translate import translate
from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.running import Loaded
from tests.frameworks.mxnet.translate import fixtures, grids
from tests.frameworks.mxnet.translate.cases import Case

_CASES = grids.cases()
_EXPECTED = fixtures.read_grids()
_BY_OPERATOR = {
    name: list(cases)
    for name, cases in itertools.groupby(
        sorted(_CASES, key=lambda case: case.operator), lambda case: case.operator
    )
}


def run(case: Case) -> list[Array]:
    found = table.find(case.operator)
    assert found is not None
    outputs = found.visible(found.parse(case.attributes, "node", strict=True))
    graph = symbol_json.loads(case.symbol(outputs)).graph
    arrays = case.arrays()
    inputs = {name: (each.shape, each.dtype) for name, each in arrays.items()}
    return Loaded(translate(graph, {}, inputs)).run(arrays)


def differs(mine: Array, shape: Sequence[int], theirs: Array, tolerance: float) -> bool:
    if mine.shape != tuple(shape) or mine.dtype != theirs.dtype:
        return True
    kept = fixtures.spread(mine).astype(np.float64)
    wanted = theirs.astype(np.float64)
    scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    return not np.allclose(kept, wanted, rtol=0, atol=tolerance * scale, equal_nan=True)


@pytest.mark.parametrize("operator", _BY_OPERATOR)
def test_operator(operator: str) -> None:
    for case in _BY_OPERATOR[operator]:
        expected = _EXPECTED[case.name]
        mine = run(case)
        assert len(mine) == len(expected), case.name
        for each, (shape, theirs) in zip(mine, expected, strict=True):
            assert not differs(each, shape, theirs, case.tolerance), case.name


def test_cases_differ_by_name() -> None:
    assert len({case.name for case in _CASES}) == len(_CASES)


def test_every_operator_has_a_case_or_is_told_apart() -> None:
    """What the grids leave out is no more than another name of the same function."""
    tried = {found.name for case in _CASES if (found := table.find(case.operator)) is not None}
    left = {found.name for found in table.operators().values()} - tried
    left = {name for name in left if not name.startswith(("_random_", "_sample_"))}
    assert left <= _UNTRIED


# They do nothing, or what another one does, or draw numbers, or have a test of their own.
_UNTRIED = {
    "_contrib_boolean_mask", "_shuffle",
    "BatchNorm_v1", "IdentityAttachKLSparseReg", "_CrossDeviceCopy", "_contrib_SparseEmbedding",
    "_contrib_gradientmultiplier", "_contrib_round_ste", "_contrib_sign_ste", "_copyto",
    "_grad_add", "_identity_with_attr_like_rhs", "_rnn_param_concat", "_scatter_minus_scalar",
    "_scatter_plus_scalar", "_scatter_set_nd", "_square_sum", "_zeros_without_dtype",
    "amp_multicast", "cast_storage", "_elastic_inference_onnx",
}  # fmt: skip
