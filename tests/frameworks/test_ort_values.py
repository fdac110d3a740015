"""OrtValues and failures of bound runs are as ONNX Runtime's own sessions have them."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from elastic_inference.client import Accelerator
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.onnxruntime import InferenceSession
from tests.frameworks.models import build, node, value

_COUNT = 1000


def _counting() -> Any:
    """A model that adds 1 to what it is given, and that input."""
    model = build(
        [node("Constant", "", "one", value_float=1.0), node("Add", "x one", "y")],
        [value("x", T.FLOAT, ["n"])],
        [value("y", T.FLOAT, ["n"])],
    )
    return model, np.arange(_COUNT, dtype=np.float32)


def _write_over_freed_memory() -> list[Any]:
    gc.collect()
    return [np.full(_COUNT, np.nan, np.float32) for _ in range(50)]


def test_the_memory_of_a_result_lives_as_long_as_any_view_of_it(target: Accelerator) -> None:
    model, x = _counting()
    session = InferenceSession(model, accelerator=target)
    given = {"x": onnxruntime.OrtValue.ortvalue_from_numpy(x)}
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")
    session.run_with_iobinding(binding)
    views = [
        session.run_with_ort_values(None, given)[0].numpy(),
        binding.get_outputs()[0].numpy(),
        next(iter(binding.get_outputs_as_ortvaluevector())).numpy(),
    ]
    binding.clear_binding_outputs()
    kept = _write_over_freed_memory()
    for view in views:
        assert np.array_equal(view, x + 1)
    assert len(kept) == 50


@pytest.mark.parametrize("number", [T.BOOL, T.FLOAT16, T.BFLOAT16, T.FLOAT8E4M3FN, T.INT4, T.UINT4])
def test_ort_values_of_every_width_go_in_and_out(target: Accelerator, number: int) -> None:
    made = np.array([0, 1, 1, 0, 1]).astype(helper.tensor_dtype_to_np_dtype(number))
    raw = numpy_helper.from_array(made).raw_data
    model = build(
        [node("Cast", "x", "f", to=T.FLOAT), node("Cast", "f", "y", to=number)],
        [value("x", number, ["n"])],
        [value("y", number, ["n"])],
    )
    session = InferenceSession(model, accelerator=target)
    given = onnxruntime.OrtValue.ortvalue_from_shape_and_type([made.size], number)
    ctypes.memmove(given.data_ptr(), raw, len(raw))
    (result,) = session.run_with_ort_values(None, {"x": given})
    assert result.data_type() == given.data_type()
    assert result.shape() == [made.size]
    assert ctypes.string_at(result.data_ptr(), result.tensor_size_in_bytes()) == raw
    (array,) = session.run(None, {"x": made})
    assert array.dtype == made.dtype
    assert array.tobytes() == made.tobytes()


def _failing() -> Any:
    """A model that fails at every run, with a status other than the usual one."""
    model = build(
        [node("ReduceMax", "x", "y", keepdims=0)], [value("x", T.BOOL, ["n"])], [value("y", T.BOOL)]
    )
    return model, np.zeros(0, np.bool_)


def _error(session: Any, *, bound: bool) -> Exception:
    x = _failing()[1]
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")
    run = (
        partial(session.run_with_iobinding, binding)
        if bound
        else partial(session.run, None, {"x": x})
    )
    with pytest.raises(Exception, match="ReduceMax is not defined for empty set") as caught:
        run()
    return caught.value


@pytest.mark.parametrize("bound", [False, True])
def test_a_failing_run_raises_what_it_raises_locally(target: Accelerator, bound: bool) -> None:
    model = _failing()[0]
    theirs = _error(onnxruntime.InferenceSession(model), bound=bound)
    ours = _error(InferenceSession(model, accelerator=target), bound=bound)
    assert isinstance(ours, type(theirs))
    assert isinstance(ours, ElasticInferenceError)
