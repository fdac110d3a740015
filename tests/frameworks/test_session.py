"""Sessions on an accelerator answer as ONNX Runtime's own do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto as T

from elastic_inference.client import Accelerator
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.onnxruntime import InferenceSession, IOBinding, RunOptions, SessionOptions
from tests.frameworks.models import (
    MODELS,
    add,
    build,
    node,
    random,
    save_with_external_data,
    value,
    weight,
)

X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
FEEDS = {"x": X, "y": Y}


def local(model: Any, threads: int = 1, **options: Any) -> Any:
    """ONNX Runtime's own session with as many threads as the accelerator has."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    for name, setting in options.items():
        setattr(chosen, name, setting)
    return onnxruntime.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])


def assert_same(mine: Any, theirs: Any) -> None:
    assert type(mine) is type(theirs)
    if isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, np.ndarray):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        if theirs.dtype == np.object_:
            assert mine.tolist() == theirs.tolist()
        else:
            assert mine.tobytes() == theirs.tobytes()
    else:
        assert mine == theirs


def described(args: Any) -> list[tuple[str, str, Any]]:
    return [(arg.name, arg.type, arg.shape) for arg in args]


@pytest.mark.parametrize("name", MODELS)
def test_results_and_descriptions_are_the_local_ones(target: Accelerator, name: str) -> None:
    model, feeds = MODELS[name]()
    session, reference = InferenceSession(model, accelerator=target), local(model)
    assert_same(session.run(None, feeds), reference.run(None, feeds))
    assert described(session.get_inputs()) == described(reference.get_inputs())
    assert described(session.get_outputs()) == described(reference.get_outputs())
    last = reference.get_outputs()[-1].name
    assert_same(session.run([last], feeds), reference.run([last], feeds))


def test_the_model_really_runs_on_the_accelerator(target: Accelerator) -> None:
    session = InferenceSession(add(), accelerator=target)
    before = target.usage()["requests"]
    for _ in range(3):
        session.run(None, FEEDS)
    assert target.usage()["requests"] == before + 3


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.run(None, {"x": X}),
        lambda s: s.run(None, {**FEEDS, "q": Y}),
        lambda s: s.run(None, {"x": X.astype(np.float64), "y": Y}),
        lambda s: s.run(None, {"x": X[0], "y": Y}),
        lambda s: s.run(None, {"x": X[:, :2], "y": Y}),
        lambda s: s.run(["nope"], FEEDS),
        lambda s: s.run("zz", FEEDS),
        lambda s: s.run(None, {"x": 1.0, "y": Y}),
        lambda s: s.run(None, {"x": None, "y": Y}),
        lambda s: s.run(None, [X, Y]),
        lambda s: s.run(None, FEEDS, 5),
        lambda s: s.run(None, FEEDS, _terminated()),
    ],
)
def test_mistakes_raise_what_onnxruntime_raises(
    target: Accelerator, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever ONNX Runtime raises
        call(local(add()))
    session = InferenceSession(add(), accelerator=target)
    with pytest.raises(expected.type):
        call(session)
    assert_same(session.run(None, FEEDS), [X + Y])


def _terminated() -> Any:
    options = onnxruntime.RunOptions()
    options.terminate = True
    return options


def _unknown_operator() -> bytes:
    return build([node("Nope", "x", "y")], [value("x")], [value("y")])


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"garbage garbage",
        add()[:-20],
        _unknown_operator(),
        "/nowhere/model.onnx",
        "",
        5,
        bytearray(b"x"),
    ],
    ids=["empty", "garbage", "cut", "operator", "path", "no-path", "number", "bytearray"],
)
def test_bad_models_raise_what_onnxruntime_raises(target: Accelerator, model: Any) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever ONNX Runtime raises
        onnxruntime.InferenceSession(model)
    with pytest.raises(expected.type):
        InferenceSession(model, accelerator=target)


def test_errors_are_of_our_tree_too(target: Accelerator) -> None:
    session = InferenceSession(add(), accelerator=target)
    with pytest.raises(ElasticInferenceError) as caught:
        session.run(None, {"x": X[:, :2], "y": Y})
    assert "index: 1 Got: 2 Expected: 3" in str(caught.value)


def test_a_failure_while_running_is_reported(target: Accelerator) -> None:
    model = build(
        [node("Gather", "x i", "y")],
        [value("x", T.FLOAT, ["n"]), value("i", T.INT64, ["m"])],
        [value("y")],
    )
    feeds = {"x": random(3), "i": np.array([9], np.int64)}
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever ONNX Runtime raises
        local(model).run(None, feeds)
    session = InferenceSession(model, accelerator=target)
    with pytest.raises(expected.type, match="indices element out of data bounds"):
        session.run(None, feeds)


def test_other_kinds_of_input_are_converted(target: Accelerator) -> None:
    session = InferenceSession(add(), accelerator=target)
    expected = [X + Y]
    assert_same(session.run(None, {"x": X.tolist(), "y": Y}), expected)
    assert_same(session.run(None, {"x": np.asfortranarray(X), "y": Y}), expected)
    assert_same(session.run(None, {"x": np.repeat(X, 2, axis=1)[:, ::2], "y": Y}), expected)
    wrapped = onnxruntime.OrtValue.ortvalue_from_numpy(X)
    assert_same(session.run(None, {"x": wrapped, "y": Y}), expected)
    assert_same(session.run([], FEEDS), expected)
    assert_same(session.run(["z", "z"], FEEDS), expected * 2)
    assert_same(session.run(None, FEEDS, onnxruntime.RunOptions()), expected)


@pytest.mark.parametrize(
    "strings",
    [
        np.array(["a", "é"]),
        ["a", "b"],
        np.array([1, None], object),
        np.array([], object),
    ],
    ids=["U", "list", "objects", "empty"],
)
def test_strings_come_in_many_arrays(target: Accelerator, strings: Any) -> None:
    model = build(
        [node("Identity", "x", "y")], [value("x", T.STRING, ["n"])], [value("y", T.STRING, ["n"])]
    )
    session = InferenceSession(model, accelerator=target)
    assert_same(session.run(None, {"x": strings}), local(model).run(None, {"x": strings}))


def test_an_absent_optional_is_none(target: Accelerator) -> None:
    model, _ = MODELS["optional"]()
    session = InferenceSession(model, accelerator=target)
    for feeds in ({}, {"x": None}):
        assert_same(session.run(None, feeds), local(model).run(None, feeds))


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_types_that_numpy_lacks(target: Accelerator, dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kinds = {"bfloat16": T.BFLOAT16, "float8_e4m3fn": T.FLOAT8E4M3FN, "float8_e5m2": T.FLOAT8E5M2}
    model = build(
        [node("Identity", "x", "y")],
        [value("x", kinds[dtype], ["n"])],
        [value("y", kinds[dtype], ["n"])],
    )
    given = np.array([1.5, -2, 0], getattr(ml_dtypes, dtype))
    (got,) = InferenceSession(model, accelerator=target).run(None, {"x": given})
    assert got.dtype == given.dtype
    assert got.tobytes() == given.tobytes()


def test_models_come_as_paths_and_with_external_data(target: Accelerator, tmp_path: Path) -> None:
    model, feeds = MODELS["perceptron"]()
    expected = local(model).run(None, feeds)
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert_same(InferenceSession(path, accelerator=target).run(None, feeds), expected)
    assert_same(InferenceSession(str(path), accelerator=target).run(None, feeds), expected)
    outside = tmp_path / "external" / "model.onnx"
    outside.parent.mkdir()
    save_with_external_data(model, outside)
    assert_same(InferenceSession(outside, accelerator=target).run(None, feeds), expected)
    options = SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(outside.parent)
    )
    session = InferenceSession(outside.read_bytes(), options, accelerator=target)
    assert_same(session.run(None, feeds), expected)
    options = SessionOptions()
    weights = (outside.parent / "weights.bin").read_bytes()
    options.add_external_initializers_from_files_in_memory(
        ["weights.bin"], [weights], [len(weights)]
    )
    session = InferenceSession(outside.read_bytes(), options, accelerator=target)
    assert_same(session.run(None, feeds), expected)


def test_two_models_of_one_architecture(target: Accelerator) -> None:
    def scaled(seed: int) -> bytes:
        return build(
            [node("MatMul", "x w", "y")],
            [value("x", T.FLOAT, ["n", 8])],
            [value("y")],
            [weight("w", 8, 8, seed=seed)],
        )

    x = random(3, 8)
    sessions = [InferenceSession(scaled(seed), accelerator=target) for seed in range(2)]
    for seed, session in enumerate(sessions):
        assert_same(session.run(None, {"x": x}), local(scaled(seed)).run(None, {"x": x}))


def test_weights_of_odd_sizes_beside_those_the_processor_lays_out(target: Accelerator) -> None:
    # Each odd weight shifts those after it in the accelerator's prepared file.
    names = [f"{kind}{index}" for index in range(4) for kind in ("b", "w")]
    weights = [
        weight(name, 9001) if name[0] == "b" else weight(name, 240, 240, seed=index)
        for index, name in enumerate(names)
    ]
    nodes, last = [], "x"
    for index in range(4):
        nodes.append(node("MatMul", f"{last} w{index}", f"m{index}"))
        nodes.append(node("Add", f"m{index} v{index}", f"a{index}"))
        nodes.insert(0, node("Mul", f"b{index} s", f"v{index}_"))
        nodes.insert(1, node("ReduceMax", f"v{index}_", f"v{index}", keepdims=0))
        last = f"a{index}"
    model = build(
        nodes,
        [value("x", T.FLOAT, ["n", 240]), value("s", T.FLOAT, [])],
        [value(last)],
        weights,
    )
    feeds = {"x": random(30, 240), "s": np.array(2, np.float32)}
    session = InferenceSession(model, accelerator=target)
    assert_same(session.run(None, feeds), local(model).run(None, feeds))


def test_what_a_session_says_of_itself(target: Accelerator) -> None:
    model = build(
        [node("Neg", "x", "y")],
        [value("x")],
        [value("y")],
        producer_name="maker",
        model_version=3,
        doc_string="what it is",
    )
    session, reference = InferenceSession(model, accelerator=target), local(model)
    mine, theirs = session.get_modelmeta(), reference.get_modelmeta()
    for name in (
        "producer_name",
        "graph_name",
        "domain",
        "description",
        "graph_description",
        "version",
        "custom_metadata_map",
    ):
        assert getattr(mine, name) == getattr(theirs, name)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_provider_options() == {"CPUExecutionProvider": {}}
    assert session.get_overridable_initializers() == []
    assert session.end_profiling() == ""
    assert isinstance(session.get_profiling_start_time_ns(), int)
    assert isinstance(session, onnxruntime.InferenceSession)
    assert len(session.get_input_memory_infos()) == 1
    session.disable_fallback()
    session.enable_fallback()
    session.set_providers(["CPUExecutionProvider"])
    assert_same(session.run(None, {"x": X}), [-X])


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_options_are_followed(target: Accelerator, level: str) -> None:
    model, feeds = MODELS["convolution"]()
    options = SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.intra_op_num_threads = 64
    options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = InferenceSession(model, options, accelerator=target)
    assert session.get_session_options() is options
    expected = local(model, graph_optimization_level=options.graph_optimization_level)
    assert_same(session.run(None, feeds), expected.run(None, feeds))


def test_free_dimensions_are_fixed(target: Accelerator) -> None:
    options = SessionOptions()
    options.add_free_dimension_override_by_name("n", 2)
    session = InferenceSession(add(), options, accelerator=target)
    assert session.get_inputs()[0].shape == [2, 3]
    assert_same(session.run(None, FEEDS), [X + Y])


def test_an_optimised_model_is_written_here(target: Accelerator, tmp_path: Path) -> None:
    options = SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    before = target.usage()["requests"]
    session = InferenceSession(MODELS["perceptron"]()[0], options, accelerator=target)
    session.run(None, MODELS["perceptron"]()[1])
    assert (tmp_path / "optimised.onnx").stat().st_size > 0
    assert target.usage()["requests"] == before + 1


def test_profiles_are_made_by_the_local_engine(target: Accelerator, tmp_path: Path) -> None:
    options = SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    with pytest.warns(RuntimeWarning, match="profiling is on"):
        session = InferenceSession(add(), options, accelerator=target)
    assert_same(session.run(None, FEEDS), [X + Y])
    assert Path(session.end_profiling()).stat().st_size > 0


def test_models_in_the_engines_own_format_stay_here(target: Accelerator, tmp_path: Path) -> None:
    path = tmp_path / "model.ort"
    local(add(), optimized_model_filepath=str(path))
    for source in (str(path), path, path.read_bytes()):
        with pytest.warns(RuntimeWarning, match="ORT format"):
            session = InferenceSession(source, accelerator=target)
        assert_same(session.run(None, FEEDS), [X + Y])


def test_weights_may_be_overridden(target: Accelerator) -> None:
    model = build(
        [node("Add", "x w", "y")],
        [value("x", T.FLOAT, [2]), value("w", T.FLOAT, [2])],
        [value("y", T.FLOAT, [2])],
        [weight("w", 2)],
    )
    session, reference = InferenceSession(model, accelerator=target), local(model)
    assert described(session.get_inputs()) == described(reference.get_inputs())
    assert described(session.get_overridable_initializers()) == described(
        reference.get_overridable_initializers()
    )
    x, other = random(2), random(2, seed=5)
    assert_same(session.run(None, {"x": x}), reference.run(None, {"x": x}))
    given = {"x": x, "w": other}
    assert_same(session.run(None, given), reference.run(None, given))
    assert_same(session.run(None, given, RunOptions()), reference.run(None, given))


def test_ort_values_go_in_and_out(target: Accelerator) -> None:
    session = InferenceSession(add(), accelerator=target)
    given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(item) for name, item in FEEDS.items()}
    (result,) = session.run_with_ort_values(["z"], given)
    assert isinstance(result, onnxruntime.OrtValue)
    assert_same(result.numpy(), X + Y)


@pytest.mark.parametrize("remote", [True, False])
def test_io_binding(target: Accelerator, remote: bool) -> None:
    session = InferenceSession(add(), accelerator=target) if remote else local(add())
    binding = session.io_binding()
    assert isinstance(binding, onnxruntime.IOBinding)
    binding.bind_cpu_input("x", X)
    binding.bind_ortvalue_input("y", onnxruntime.OrtValue.ortvalue_from_numpy(Y))
    binding.bind_output("z")
    session.run_with_iobinding(binding)
    assert_same(binding.copy_outputs_to_cpu(), [X + Y])
    assert_same(binding.get_outputs()[0].numpy(), X + Y)


@pytest.mark.parametrize("remote", [True, False])
def test_io_binding_to_memory(target: Accelerator, remote: bool) -> None:
    session = InferenceSession(add(), accelerator=target) if remote else local(add())
    given, result = X.copy(), np.zeros((2, 3), np.float32)
    kept = onnxruntime.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, given.shape, given.ctypes.data)
    binding.bind_cpu_input("y", Y)
    binding.bind_output("z", "cpu", 0, np.float32, result.shape, result.ctypes.data)
    session.run_with_iobinding(binding)
    assert_same(result, X + Y)
    given += 1
    session.run_with_iobinding(binding)
    assert_same(result, X + 1 + Y)
    binding.clear_binding_outputs()
    binding.bind_ortvalue_output("z", kept)
    session.run_with_iobinding(binding)
    assert_same(kept.numpy(), X + 1 + Y)


def test_io_binding_of_local_sessions_is_the_real_one() -> None:
    binding = IOBinding(local(add()))
    assert type(binding) is onnxruntime.IOBinding


def test_memory_of_other_devices_is_refused(target: Accelerator) -> None:
    binding = InferenceSession(add(), accelerator=target).io_binding()
    with pytest.raises(RuntimeError, match="the accelerator is remote"):
        binding.bind_input("x", "cuda", 0, np.float32, [2, 3], X.ctypes.data)


@pytest.mark.parametrize("feeds", [FEEDS, {"x": X[:, :2], "y": Y}], ids=["good", "bad"])
def test_run_async_calls_back(target: Accelerator, feeds: Any) -> None:
    session = InferenceSession(add(), accelerator=target)
    done = threading.Event()
    outcome: list[Any] = []

    def callback(results: Any, user_data: Any, error: str) -> None:
        outcome.extend([results, user_data, error])
        done.set()

    session.run_async(None, feeds, callback, "mine")
    assert done.wait(30)
    results, user_data, error = outcome
    assert user_data == "mine"
    if feeds is FEEDS:
        assert_same(results, [X + Y])
        assert error == ""
    else:
        assert results == []
        assert "Got: 2 Expected: 3" in error


def test_many_threads_get_their_own_answers(target: Accelerator) -> None:
    session = InferenceSession(add(), accelerator=target)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for step in range(50):
            x = np.full((2, 3), seed * 1000 + step, np.float32)
            if not np.array_equal(session.run(None, {"x": x, "y": Y})[0], x + 1):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_run_options_with_adapters_stay_here(target: Accelerator, tmp_path: Path) -> None:
    maker = onnxruntime.AdapterFormat()
    maker.set_adapter_version(1)
    maker.set_model_version(1)
    replaced = np.array([5, 6], np.float32)
    maker.set_parameters({"w": onnxruntime.OrtValue.ortvalue_from_numpy(replaced)})
    maker.export_adapter(str(tmp_path / "adapter"))
    model = build(
        [node("Add", "x w", "y")],
        [value("x", T.FLOAT, [2]), value("w", T.FLOAT, [2])],
        [value("y", T.FLOAT, [2])],
        [weight("w", 2)],
    )
    adapter = onnxruntime.LoraAdapter()
    adapter.Load(str(tmp_path / "adapter"))
    options = RunOptions()
    options.add_active_adapter(adapter)
    session = InferenceSession(model, accelerator=target)
    x = random(2)
    with pytest.warns(RuntimeWarning, match="adapters"):
        assert_same(session.run(None, {"x": x}, options), [x + replaced])
