"""What a run of ONNX's cases would notice: anything but the same bits, or the same failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from elastic_inference.errors import InternalError, ModelFormatError
from tests.conformance import values
from tests.conformance.backend import CpuBackend, LocalBackend, Prepared, Remote
from tests.conformance.cases import Case, families
from tests.conformance.run import Outcome, sample
from tests.conformance.trial import BEYOND, DIFFERS, RANDOM, REFUSED, SAME, Trial, judge

_OPTIONS = {"threads": 1}
_X = np.linspace(-1, 1, 6, dtype=np.float32)


def case(node: str = "Relu", expected: Any = None, **attributes: Any) -> Case:
    inputs = ["x"] if node != "RandomNormal" else []
    graph = helper.make_graph(
        [helper.make_node(node, inputs, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(name, T.FLOAT, [6]) for name in inputs],
        [helper.make_tensor_value_info("y", T.FLOAT, [6])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()
    answer = np.maximum(_X, 0) if expected is None else expected
    data = (([_X] if inputs else [], [answer]),)
    return Case("test_it", "simple", "tensors", model, data, 1e-3, 1e-7)


def remote(change: Callable[[list[Any]], list[Any]]) -> list[Remote]:
    """ONNX Runtime here in the place of an accelerator, its results changed."""

    class Changed(CpuBackend):
        first_way = "client"

        @classmethod
        def load(cls, model: bytes, **options: Any) -> Prepared:
            run = LocalBackend.load(model, **options).ways["session"]

            def changed(inputs: Sequence[Any]) -> list[Any]:
                return change(run(inputs))

            return Prepared({"client": changed}, lambda: None)

    return [Remote("", Changed)]


def refusing(error: Exception) -> list[Remote]:
    class Refusing(CpuBackend):
        first_way = "client"

        @classmethod
        def load(cls, model: bytes, **options: Any) -> Prepared:  # noqa: ARG003 - refused unseen
            raise error

    return [Remote("", Refusing)]


def _one_bit(results: list[Any]) -> list[Any]:
    changed = results[0].copy()
    changed.view(np.uint32)[-1] ^= 1
    return [changed]


def test_the_same_bits_are_the_same() -> None:
    trial = judge(case(), remote(list), _OPTIONS)
    assert trial.local == "passes"
    assert (trial.verdicts, trial.differences) == ({"client": SAME}, [])
    assert trial.passes


@pytest.mark.parametrize(
    "change",
    [
        _one_bit,
        lambda results: [*results, results[0]],
        lambda results: [results[0].astype(np.float64)],
        lambda results: [results[0].reshape(2, 3)],
        lambda results: [-0.0 * results[0]],
    ],
    ids=["a bit", "an output more", "dtype", "shape", "the sign of zero"],
)
def test_anything_else_differs(change: Callable[[list[Any]], list[Any]]) -> None:
    trial = judge(case(), remote(change), _OPTIONS)
    assert trial.verdicts == {"client": DIFFERS}
    assert trial.differences[0].startswith("test_it by client: ")
    assert not Outcome(trials=[trial]).good


def test_what_runs_here_must_run_there() -> None:
    trial = judge(case(), refusing(InternalError("no")), _OPTIONS)
    assert trial.verdicts == {"client": DIFFERS}
    assert not trial.passes
    assert not Outcome(trials=[trial]).good


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ModelFormatError("no such operator"), REFUSED),
        (InternalError("it failed"), DIFFERS),
        (ValueError("what?"), DIFFERS),
    ],
)
def test_what_does_not_load_here_is_refused_as_the_models_fault(
    error: Exception, verdict: str
) -> None:
    trial = judge(case("Nonsense"), refusing(error), _OPTIONS)
    assert trial.local == "load"
    assert trial.verdicts == {"client": verdict}


def test_more_than_onnx_runtime_offers_in_python_is_told_apart() -> None:
    trial = Trial("test_it", "simple", "strings", "passes", "", {"IOBinding": BEYOND}, [])
    assert not trial.passes
    trial.passing.append("IOBinding")
    assert trial.passes


def test_results_within_tolerance_pass_and_others_do_not() -> None:
    near = judge(case(expected=np.maximum(_X, 0) * np.float32(1.0001)), remote(list), _OPTIONS)
    assert (near.local, near.passes) == ("passes", True)
    far = judge(case(expected=np.maximum(_X, 0) * np.float32(1.1)), remote(list), _OPTIONS)
    assert (far.local, far.passes, far.verdicts) == ("misses", False, {"client": SAME})


def test_random_results_need_only_types_and_shapes() -> None:
    drawn = case("RandomNormal", shape=[6])
    trial = judge(drawn, remote(lambda results: [results[0] + 1]), _OPTIONS)
    assert trial.verdicts == {"client": RANDOM}
    other = judge(drawn, remote(lambda results: [results[0][:3]]), _OPTIONS)
    assert other.verdicts == {"client": DIFFERS}


def test_bits_tell_values_apart() -> None:
    zero = np.zeros(2, np.float32)
    others = [
        zero, -zero, zero.astype(np.float16), zero.reshape(1, 2), [zero], [], None,
        np.array(["0", "0"], object),
    ]  # fmt: skip
    assert len({values.bits(value) for value in others}) == len(others)
    assert values.bits(zero) == values.bits(zero.copy())
    assert values.numbers(np.array([np.nan])) == values.numbers(-np.array([np.nan]))


def test_families_are_those_of_what_goes_in_and_out() -> None:
    def family(*kinds: onnx.TypeProto) -> str:
        infos = [helper.make_value_info(f"v{index}", kind) for index, kind in enumerate(kinds)]
        return families(helper.make_model(helper.make_graph([], "g", infos, [])))

    number, half_byte = (helper.make_tensor_type_proto(kind, None) for kind in (T.FLOAT, T.INT4))
    sequence = helper.make_sequence_type_proto(half_byte)
    assert family(number) == "tensors"
    assert family(number, half_byte) == "sub-byte"
    assert family(number, sequence) == "sequences"
    assert family(helper.make_optional_type_proto(sequence), number) == "optionals"


def test_a_sample_has_every_group_and_is_the_same_each_time() -> None:
    made = [
        Case(f"{kind}{index}", kind, family, b"", (), 0, 0)
        for kind in ("node", "model")
        for family in ("tensors", "strings")
        for index in range(10)
    ]
    chosen = sample(made, 3)
    assert chosen == sample(iter(made), 3)
    assert [(each.kind, each.family) for each in chosen] == (
        [("node", "tensors")] * 3 + [("node", "strings")] * 3
        + [("model", "tensors"), ("model", "strings")]
    )  # fmt: skip
