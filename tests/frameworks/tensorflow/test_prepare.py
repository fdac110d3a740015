"""Plans come from the cache, or from one process that makes all that is missing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import (
    ConfigurationError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
    NotFoundError,
)
from elastic_inference.frameworks.tensorflow import prepare as module
from elastic_inference.frameworks.tensorflow.plan import Plan
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.source import Source
from tests.frameworks.tensorflow import simple

pytestmark = pytest.mark.slow
_SECOND_START = """
import sys
from pathlib import Path
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.source import Source
(plan,) = prepare([Source(Path(sys.argv[1]))])
heavy = {"tensorflow", "tf2onnx", "onnx", "onnxruntime", "keras", "grpc"} & set(sys.modules)
print(len(plan.segments), sorted(heavy))
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "prepare"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simple.saved_model(tmp_path_factory.mktemp("prepare") / "model")


def _no_worker(*_: Any) -> None:
    raise AssertionError("a worker was started")


def _run(plan: Plan, feeds: dict[str, Any]) -> list[Any]:
    """What the plan's ONNX models give, without an accelerator."""
    import onnxruntime

    values = {plan.inputs[key].name: value for key, value in feeds.items()}
    for segment in plan.segments:
        session = onnxruntime.InferenceSession(str(plan.folder / segment.file))
        taken = {each.port: values[each.name] for each in segment.inputs}
        made = session.run([each.port for each in segment.outputs], taken)
        values.update(zip([each.name for each in segment.outputs], made, strict=True))
    return [values[each.name] for each in plan.outputs.values()]


def test_what_converts_is_one_segment_and_is_found_again(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = prepare([Source(model)])
    assert [(each.place, each.engine) for each in plan.segments] == [("accelerator", "onnx")]
    assert plan.is_remote
    assert plan.segments[0].crossing > 0
    assert plan.proof.keys() == plan.outputs.keys()
    x = np.ones((2, 3), np.float32)
    found = dict(
        zip(plan.outputs, _run(plan, {"x": x, "scale": np.array(3, np.float32)}), strict=True)
    )
    np.testing.assert_allclose(found["y"], x @ simple.WEIGHTS * 3, rtol=1e-6)
    monkeypatch.setattr(module, "_work", _no_worker)
    assert prepare([Source(model)]) == [plan]


def test_a_second_start_loads_nothing_heavy(model: Path) -> None:
    prepare([Source(model)])
    command = [sys.executable, "-c", _SECOND_START, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split(maxsplit=1) == ["1", "[]\n"]


def test_many_sources_take_one_worker(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    work = module._work

    def count(request: Any, sources: Any) -> None:
        started.append(len(sources))
        work(request, sources)

    monkeypatch.setattr(module, "_work", count)
    sources = [Source(model), Source(model, signature="words"), Source(model, signature="read")]
    default, words, read = prepare(sources, refresh=True)
    assert started == [3]
    assert [each.engine for each in default.segments] == ["onnx"]
    # TensorFlow on the accelerator changes texts; only the instance reads files.
    assert [(e.place, e.engine) for e in words.segments] == [("accelerator", "tensorflow")]
    assert [(e.place, e.engine) for e in read.segments] == [("instance", "tensorflow")]
    assert "ReadFile" in read.segments[0].reasons[0]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(prepare, [[each] for each in sources])) == [[default], [words], [read]]
    assert started == [3]


def test_those_that_want_one_plan_at_once_wait_for_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    work = module._work

    def count(request: Any, sources: Any) -> None:
        started.append(len(sources))
        work(request, sources)

    monkeypatch.setattr(module, "_work", count)
    source = Source(simple.frozen_graph(tmp_path / "at_once.pb"), signature="")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(prepare, [[source]] * 3))
    assert found[0] == found[1] == found[2]
    assert started == [1]
    assert not list(tmp_path.rglob(".new-*"))


def test_mistakes_that_need_no_tensorflow_to_be_seen(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_work", _no_worker)
    with pytest.raises(NotFoundError, match="read, serving_default, words"):
        prepare([Source(model, signature="nothing")])
    with pytest.raises(NotFoundError, match="serve"):
        prepare([Source(model, tags=("train",))])
    with pytest.raises(NotFoundError, match="no model"):
        prepare([Source(tmp_path / "nowhere")])
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelFormatError, match="damaged"):
        prepare([Source(tmp_path)])


def test_what_tensorflow_says_comes_back(model: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((model / "saved_model.pb").read_bytes())
    with pytest.raises(ModelFormatError, match=f"cannot load the model in {tmp_path}"):
        prepare([Source(tmp_path)])
    unfed = Source(model, signature="", inputs={"w": "words:0"}, outputs={"y": "y:0"})
    with pytest.raises(InvalidRequestError, match="x:0, which is not among the inputs"):
        prepare([unfed])


def test_without_tensorflow_it_is_said_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "tf2onnx" else real(name))
    with pytest.raises(ConfigurationError, match=r"elastic-inference\[tensorflow\]"):
        prepare([Source(model)], refresh=True)


def test_a_worker_that_is_killed_is_told_with_its_status(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_WORKER", "dies")
    with pytest.raises(InternalError, match="status -9"):
        prepare([Source(model)], refresh=True)
    monkeypatch.undo()


def test_python_functions_stay_where_they_are_registered(tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        here = v1.py_func(lambda value: value + 1, [x], tf.float32)
        here.set_shape([None, 3])
        y = tf.matmul(tf.matmul(here, tf.constant(simple.WEIGHTS)), tf.ones([2, 2]))
        v1.saved_model.simple_save(session, str(tmp_path), {"x": x}, {"y": y})
    (plan,) = prepare([Source(tmp_path)])
    here_, there = plan.segments
    assert (here_.place, there.engine) == ("instance", "onnx")
    assert "process that registered it" in here_.reasons[0]


def test_feeds_of_other_ranks_are_taken_where_that_was_proved(tmp_path: Path) -> None:
    import tensorflow as tf

    def save(name: str, build: Any) -> Path:
        v1 = tf.compat.v1
        with tf.Graph().as_default() as graph:
            build(tf, v1.placeholder(tf.float32, [None, 1], name="x"))
        path = tmp_path / f"{name}.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
        return path

    half = save("half", lambda tf, x: tf.add(x * 0.5, 2.0, name="y"))
    total = save("total", lambda tf, x: tf.reduce_sum(x * 0.5, 1, name="y"))
    given, made = {"x": "x:0"}, {"y": "y:0"}
    one, other = prepare([Source(path, (), "", given, made) for path in (half, total)])
    assert (one.any_shape, other.any_shape) == (True, False)
    x = np.array([1.0, 2.0], np.float32)
    np.testing.assert_array_equal(_run(one, {"x": x})[0], [2.5, 3.0])


def test_a_plan_has_the_files_that_its_tables_read(tmp_path: Path) -> None:
    import tensorflow as tf

    from elastic_inference.frameworks.tensorflow.local import LocalSegment

    words = tmp_path / "words.txt"
    words.write_text("cat\ndog\n")
    module_ = tf.Module()
    index = tf.lookup.TextFileIndex
    module_.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
        ),
        -1,
    )
    serve = tf.function(
        lambda words: {"ids": module_.table.lookup(words)},
        input_signature=[tf.TensorSpec([None], tf.string, name="words")],
    )
    tf.saved_model.save(module_, str(tmp_path / "model"), signatures=serve)
    (plan,) = prepare([Source(tmp_path / "model")])
    shutil.rmtree(tmp_path / "model")
    words.unlink()
    (segment,) = plan.segments
    local = LocalSegment(plan.folder, segment)
    given = np.array([b"dog", b"cow", b"cat"], object)
    found = local.run({segment.inputs[0].port: given})[0]
    local.close()
    np.testing.assert_array_equal(found, [1, -1, 0])
