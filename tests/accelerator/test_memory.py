"""The slice's memory: accounted, enforced and given back, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.errors import AcceleratorOutOfMemoryError
from elastic_inference.protocol.tensors import TensorSpec
from tests.accelerator import graphs

MIB = 1 << 20

PRELUDE = """
import json, sys
from pathlib import Path
import numpy as np
from elastic_inference.accelerator import heap
heap.configure()
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.errors import AcceleratorOutOfMemoryError

MIB = 1 << 20
folder = Path(sys.argv[1])
limit = int(sys.argv[2]) * MIB
engine = OnnxRuntimeEngine("cpu", limit, 1)
engine.trim()
account = MemoryAccount(limit, engine.trim, backstop=True)

def load(name, cache=False):
    path = folder / name
    files = ModelFiles(name, path, "model.onnx", folder / "cache" / name if cache else None,
                       (path / "model.onnx").stat().st_size)
    return account.load(files.size, lambda: engine.load(files, LoadOptions()))

def refused(work):
    try:
        work()
    except AcceleratorOutOfMemoryError as error:
        assert error.ei_code == (51, 8, 31), error.ei_code
        return True
    return False

def used():
    engine.trim()
    return account.used() / MIB

out = {}
"""


@pytest.fixture
def in_process(tmp_path: Path) -> Any:
    def run(models: dict[str, bytes], limit_mib: int, script: str) -> dict[str, Any]:
        for name, data in models.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "model.onnx").write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(script) + "\nprint(json.dumps(out))",
             str(tmp_path), str(limit_mib)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out: dict[str, Any] = json.loads(done.stdout)
        return out

    return run


def test_a_model_whose_files_are_too_large_is_refused_and_the_others_work(in_process: Any) -> None:
    models = {"small": graphs.linear(), "large": graphs.linear(4000, 4000)}
    out = in_process(
        models,
        48,
        """
        small = load("small")
        x = {"x": np.ones((1, 16), np.float32)}
        before = small.run("x", x)[0].tolist()
        out["refused"] = refused(lambda: load("large"))
        out["same"] = small.run("x", x)[0].tolist() == before
        out["used"] = used()
        """,
    )
    assert out["refused"] is True
    assert out["same"] is True
    assert out["used"] < 8


def test_a_model_that_grows_while_it_loads_is_refused_afterwards(in_process: Any) -> None:
    # A few bytes of file that become 64 MiB of weights when constants are folded.
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"], value=numpy_helper.from_array(
            np.ones(1, np.float32))),
        helper.make_node("MatMul", ["x", "big"], ["y"]),
    ]  # fmt: skip
    data = graphs.model(
        nodes,
        [graphs.value_info("x", TensorProto.FLOAT, ["n", 4096])],
        [graphs.value_info("y", TensorProto.FLOAT, ["n", 4096])],
        {"s": np.array([4096, 4096], np.int64)},
    )
    out = in_process(
        {"grows": data, "small": graphs.linear()},
        48,
        """
        small = load("small")
        out["refused"] = refused(lambda: load("grows"))
        out["works"] = small.run("x", {"x": np.ones((1, 16), np.float32)})[0].shape
        out["used"] = used()
        """,
    )
    assert out["refused"] is True
    assert out["works"] == [1, 16]
    assert out["used"] < 24


def test_activations_over_the_limit_are_refused_and_smaller_calls_go_on(in_process: Any) -> None:
    out = in_process(
        {"expand": graphs.expand(), "small": graphs.linear()},
        64,
        """
        expand, small = load("expand"), load("small")

        def run(mib):
            shape = np.array([mib, MIB // 4], np.int64)
            return expand.run(mib, {"shape": shape})[0].nbytes

        out["first"] = run(16) == 16 * MIB
        out["refused"] = [refused(lambda: run(size)) for size in (200, 1 << 20)]
        out["used"] = used()
        out["later"] = [run(16) == 16 * MIB, run(16) == 16 * MIB, run(8) == 8 * MIB]
        out["small"] = small.run("x", {"x": np.ones((1, 16), np.float32)})[0].shape
        """,
    )
    assert out["first"] is True
    assert out["refused"] == [True, True]
    assert out["later"] == [True, True, True]
    assert out["small"] == [1, 16]
    assert out["used"] < 24


def test_unloading_gives_memory_back(in_process: Any) -> None:
    out = in_process(
        {"m": graphs.linear(3000, 3000)},
        256,
        """
        x = {"x": np.ones((4, 3000), np.float32)}
        levels = []
        for cycle in range(12):
            model = load("m", cache=cycle % 2 == 0)
            model.run("x", x)
            loaded = used()
            account.unload(model)
            del model
            levels.append((loaded, used()))
        out["levels"] = levels
        """,
    )
    first, last = out["levels"][1], out["levels"][-1]
    assert all(loaded > 30 for loaded, _ in out["levels"])
    assert last[1] < 16
    assert last[1] <= first[1] + 3


def test_mapped_weights_count_though_no_anonymous_memory_holds_them(in_process: Any) -> None:
    out = in_process(
        {"m": graphs.linear(3000, 3000)},
        256,
        """
        load("m", cache=True)
        out["used"] = used()
        out["anonymous"] = (account._reader.read() - account._baseline) / MIB
        """,
    )
    assert out["used"] > 34
    assert out["used"] - out["anonymous"] > 34


def test_address_space_that_runs_away_is_stopped(in_process: Any) -> None:
    out = in_process(
        {},
        64,
        """
        import resource
        out["limit"] = resource.getrlimit(resource.RLIMIT_DATA)[0] / MIB
        try:
            bytearray(2048 * MIB)
        except MemoryError:
            out["stopped"] = True
        for _ in range(100):
            account.thread_started()
        out["more"] = resource.getrlimit(resource.RLIMIT_DATA)[0] / MIB
        """,
    )
    assert out["stopped"] is True
    assert out["more"] - out["limit"] == 50


class Meter:
    """A reader whose value a test sets."""

    def __init__(self) -> None:
        self.value = 0

    def read(self) -> int:
        return self.value


class Model:
    """A model that takes memory while it is run, and keeps `peak` of it as an arena does."""

    def __init__(self, meter: Meter) -> None:
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.metadata: Mapping[str, Any] = {}
        self.providers: tuple[str, ...] = ()
        self.source = "direct"
        self.mapped_bytes = 0
        self.unfinished = False
        self.meter = meter
        self.needs = 0
        self.runs = 0

    def run(self, feeds: Any, outputs: Any = None) -> Sequence[Any]:
        self.runs += 1
        self.meter.value = max(self.meter.value, self.needs)
        return [feeds, outputs]

    def finish(self) -> None:
        self.unfinished = False

    def skip(self) -> None:
        self.unfinished = False

    def close(self) -> None:
        self.meter.value = 0


def test_a_signature_is_measured_once_and_anew_after_a_load() -> None:
    meter = Meter()
    reads = 0

    class Counting:
        def read(self) -> int:
            nonlocal reads
            reads += 1
            return meter.value

    account = MemoryAccount(100, lambda: None, reader=Counting())
    guarded = account.load(1, lambda: Model(meter))
    guarded.run("a", {})
    reads = 0
    guarded.run("a", {})
    assert reads == 0
    guarded.run("b", {})
    assert reads == 1
    account.load(1, lambda: Model(meter))
    reads = 0
    guarded.run("a", {})
    assert reads == 1


def test_room_that_others_left_is_reclaimed_before_a_call_is_refused() -> None:
    meter = Meter()
    trims = 0

    def trim() -> None:
        nonlocal trims
        trims += 1
        meter.value = 10

    account = MemoryAccount(100, trim, reader=meter)
    trims = 0
    model = Model(meter)
    guarded = account.load(1, lambda: model)
    meter.value = 150  # what another model's peak left behind
    model.needs = 50
    assert guarded.run("a", {}) == [{}, None]
    assert (trims, model.runs) == (1, 2)
    model.needs = 120
    with pytest.raises(AcceleratorOutOfMemoryError):
        guarded.run("b", {})
    assert account.used() == 0
    account.settle()
    assert account.running == []


def test_failures_inside_a_call_leave_no_trace() -> None:
    meter = Meter()
    account = MemoryAccount(100, lambda: None, reader=meter)

    class Failing(Model):
        def run(self, *_: Any, **__: Any) -> Sequence[Any]:
            raise ValueError("broken")

    guarded = account.load(1, lambda: Failing(meter))
    with pytest.raises(ValueError, match="broken"):
        guarded.run("a", {})
    assert account.running == []
