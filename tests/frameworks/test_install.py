"""Ours in the place of ONNX Runtime's names, as `ei run` puts it there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.models import add

_START = """
import os, sys
import numpy as np
import onnxruntime
from elastic_inference.frameworks import onnxruntime as ours
real = onnxruntime.InferenceSession
ours.install(onnxruntime)
ours.install(onnxruntime)
x, y = np.ones((2, 3), np.float32), np.ones(3, np.float32)
"""


def run(program: str, **environment: str) -> str:
    """What a program prints, in an interpreter of its own."""
    import os

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _START + program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    path.write_bytes(add())
    return str(path)


def test_every_home_of_a_name_has_ours() -> None:
    run("""
from onnxruntime.capi import onnxruntime_inference_collection as collection
from onnxruntime.capi import _pybind_state as state
from elastic_inference.onnxruntime import InferenceSession, IOBinding, SessionOptions
assert onnxruntime.InferenceSession is collection.InferenceSession is InferenceSession
assert onnxruntime.IOBinding is collection.IOBinding is IOBinding
assert onnxruntime.SessionOptions is state.SessionOptions is SessionOptions
assert state.InferenceSession is not InferenceSession
assert issubclass(InferenceSession, real)
""")


def test_hidden_accelerators_leave_local_sessions(model: str) -> None:
    run(
        f"""
session = onnxruntime.InferenceSession({model!r}, onnxruntime.SessionOptions())
assert isinstance(session, onnxruntime.InferenceSession) and isinstance(session, real)
(z,) = session.run(None, {{"x": x, "y": y}})
assert z.tolist() == [[2.0] * 3] * 2
binding = session.io_binding()
binding.bind_cpu_input("x", x)
binding.bind_cpu_input("y", y)
binding.bind_output("z")
session.run_with_iobinding(binding)
assert binding.copy_outputs_to_cpu()[0].tolist() == z.tolist()
assert session.run_with_ort_values(
    None, {{"x": onnxruntime.OrtValue.ortvalue_from_numpy(x),
            "y": onnxruntime.OrtValue.ortvalue_from_numpy(y)}})[0].numpy().tolist() == z.tolist()
assert session.get_profiling_start_time_ns() is not None
session.set_providers(["CPUExecutionProvider"])
assert session.run(None, {{"x": x, "y": y}})[0].tolist() == z.tolist()
""",
        EI_VISIBLE_DEVICES="",
    )


def test_everything_that_onnxruntime_offers_is_there() -> None:
    import onnxruntime

    import elastic_inference.onnxruntime as ours

    missing = {name for name in dir(onnxruntime) if not name.startswith("_")} - set(dir(ours))
    assert missing == set()
    assert ours.__version__ == onnxruntime.__version__
    assert ours.GraphOptimizationLevel is onnxruntime.GraphOptimizationLevel
    for name in ours.__all__:
        assert hasattr(ours, name)


def test_importing_the_drop_in_patches_nothing() -> None:
    program = """
import onnxruntime
from elastic_inference.onnxruntime import InferenceSession
assert onnxruntime.InferenceSession is not InferenceSession
import elastic_inference
assert elastic_inference.onnxruntime.InferenceSession is InferenceSession
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


def test_without_any_accelerator_a_session_is_local_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from elastic_inference.client import accelerator as client
    from elastic_inference.errors import UnavailableError
    from elastic_inference.frameworks import attach
    from elastic_inference.onnxruntime import InferenceSession

    def nobody(*_: Any) -> Any:
        raise UnavailableError("No instance metadata service answers.")

    # Stands for a machine without a metadata service, whose address must not be asked here.
    monkeypatch.setattr(client, "attached", nobody)
    monkeypatch.setattr(attach, "_connected", {})
    with pytest.warns(RuntimeWarning, match="No accelerator is attached"):
        session = InferenceSession(add())
    assert [arg.name for arg in session.get_inputs()] == ["x", "y"]
