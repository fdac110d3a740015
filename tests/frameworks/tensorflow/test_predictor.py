"""`EIPredictor`: what it takes, what it gives, and where it runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference import errors
from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.tensorflow import shims
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.settings import ClientSettings
from elastic_inference.tensorflow import EIPredictor, explain
from tests.frameworks.tensorflow.simple import WEIGHTS, frozen_graph, graph, saved_model
from tests.processes import AcceleratorProcess

# Whether words are turned on the accelerator is not this file's matter.
pytestmark = pytest.mark.filterwarnings("ignore:Nothing of this model runs:RuntimeWarning")
X = np.arange(6, dtype=np.float32).reshape(2, 3)
NAMES = {"a": "x:0", "b": "scale:0"}
OUTPUTS = {"product": "y:0"}
IMAGE, DOUBLED = {"inputs": "image:0"}, {"outputs": "doubled:0"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    saved = saved_model(folder / "saved")
    frozen = frozen_graph(folder / "frozen.pb")
    # One process prepares them all much sooner than one process each.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        prepare(
            [
                Source(saved),
                Source(saved, signature="words"),
                Source(saved, signature="read"),
                Source(saved, signature="", inputs=NAMES, outputs=OUTPUTS),
                Source(frozen, signature="", inputs=IMAGE, outputs=DOUBLED),
            ]
        )
    return folder


@pytest.fixture(params=["accelerator", "local"])
def make(request: pytest.FixtureRequest, target: Accelerator) -> Iterator[Callable[..., Any]]:
    """An EIPredictor either way; what it is must not be seen in what it does."""
    made: list[EIPredictor] = []

    def make(*arguments: Any, **keywords: Any) -> EIPredictor:
        if request.param == "accelerator":
            keywords["accelerator_id"] = target
        else:
            keywords["use_ei"] = False
        made.append(EIPredictor(*arguments, **keywords))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_default_signature(
    make: Callable[..., EIPredictor], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = make(models / "saved")
    assert capsys.readouterr().out == "Using DEFAULT_SERVING_SIGNATURE_DEF_KEY .....\n"
    assert set(predictor.feed_tensors) == {"x", "scale"}
    assert set(predictor.fetch_tensors) == {"y", "count", "largest"}
    fed = predictor.feed_tensors["x"]
    assert fed.name == "x:0"
    assert np.dtype(getattr(fed.dtype, "as_numpy_dtype", fed.dtype)) == np.float32
    assert list(fed.shape) == [None, 3]
    results = predictor({"x": X, "scale": 3})
    np.testing.assert_allclose(results["y"], X @ WEIGHTS * 3, rtol=1e-6)
    assert int(results["count"]) == 2
    assert isinstance(results["largest"], np.float32)
    assert "x:0" in repr(predictor)


def test_an_input_with_a_default_may_be_left_out(
    make: Callable[..., EIPredictor], models: Path
) -> None:
    predictor = make(models / "saved", "serving_default")
    for _ in range(2):
        np.testing.assert_allclose(predictor({"x": X})["y"], X @ WEIGHTS * 2, rtol=1e-6)
    np.testing.assert_allclose(predictor({"x": X, "scale": None})["y"], X @ WEIGHTS * 2, rtol=1e-6)


def test_names_and_where_they_may_stand(make: Callable[..., EIPredictor], models: Path) -> None:
    folder = str(models / "saved")
    expected = X @ WEIGHTS * 2
    for predictor in (
        make(folder, NAMES, OUTPUTS),
        make(folder, None, None, NAMES, OUTPUTS, "serve"),
        make(export_dir=folder.encode(), input_names=NAMES, output_names=OUTPUTS, tags=["serve"]),
        make(folder, signature_def=_definition()),
    ):
        assert set(predictor.feed_tensors) == {"a", "b"}
        results = predictor({"a": X, "b": 2})
        assert list(results) == ["product"]
        np.testing.assert_allclose(results["product"], expected, rtol=1e-6)


def _definition() -> Any:
    import tensorflow as tf

    v1 = tf.compat.v1
    definition = tf.compat.v1.MetaGraphDef().signature_def["x"]
    for key, name in NAMES.items():
        definition.inputs[key].CopyFrom(v1.TensorInfo(name=name, dtype=1))
    definition.outputs["product"].CopyFrom(v1.TensorInfo(name="y:0", dtype=1))
    return definition


def test_the_signature_of_an_older_export(make: Callable[..., EIPredictor], models: Path) -> None:
    predictor = make(models / "saved", "old", tags="serve")
    assert set(predictor.fetch_tensors) == {"y", "count"}


def test_strings(make: Callable[..., EIPredictor], models: Path) -> None:
    predictor = make(models / "saved", "words")
    results = predictor({"words": ["one", b"two"]})
    assert results["upper"].tolist() == [b"ONE", b"TWO"]


def test_an_estimators_exports(
    make: Callable[..., EIPredictor], models: Path, tmp_path: Path
) -> None:
    for name in ("1500000000", "1600000000"):
        shutil.copytree(models / "saved", tmp_path / name)
    (tmp_path / "1700000000").mkdir()
    (tmp_path / "temp-1800000000").mkdir()
    predictor = make(bytes(tmp_path), "words")
    assert predictor({"words": ["x"]})["upper"].tolist() == [b"X"]


def test_a_frozen_graph(make: Callable[..., EIPredictor], models: Path) -> None:
    predictor = make(
        model_dir=models / "frozen.pb",
        input_names={"inputs": "image"},
        output_names=DOUBLED,
    )
    image = np.full((1, 2, 2, 1), 3.9)
    assert predictor({"inputs": image})["outputs"].ravel().tolist() == [6] * 4
    assert predictor({"inputs": image.tolist()})["outputs"].dtype == np.float32


def test_a_graph_in_memory(make: Callable[..., EIPredictor]) -> None:
    predictor = make(graph=graph(), input_names=IMAGE, output_names=DOUBLED)
    assert predictor({"inputs": np.ones((1, 2, 2, 1))})["outputs"].sum() == 8


def test_mistakes_in_feeds(make: Callable[..., EIPredictor], models: Path) -> None:
    import tensorflow as tf

    predictor = make(models / "saved", "serving_default")
    with pytest.raises(ValueError, match="Got unexpected keys in input_dict"):
        predictor({"x": X, "y": X})
    with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value"):
        predictor({"scale": 1.0})
    with pytest.raises(ValueError, match=r"Cannot feed value of shape \(1, 4\)"):
        predictor({"x": np.ones((1, 4))})
    with pytest.raises(ValueError, match="could not convert string to float"):
        predictor({"x": [["a", "b", "c"]]})
    assert predictor({"x": X})["y"].shape == (2, 2)


def test_mistakes_in_arguments(
    make: Callable[..., EIPredictor], models: Path, tmp_path: Path
) -> None:
    saved, frozen = models / "saved", models / "frozen.pb"
    with pytest.raises(OSError, match="SavedModel file does not exist at"):
        make(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        make(tmp_path / "none.pb", IMAGE, DOUBLED)
    with pytest.raises(RuntimeError, match="MetaGraphDef associated with tags"):
        make(saved, tags="train")
    with pytest.raises(ValueError, match=r'Got signature_def_key "none". Available signatures'):
        make(saved, "none")
    with pytest.raises(ValueError, match="has no signatures"):
        make(frozen)
    with pytest.raises(ValueError, match="must both be specified"):
        make(saved, input_names=NAMES)
    with pytest.raises(ValueError, match="at most one of"):
        make(saved, "words", None, NAMES, OUTPUTS)
    with pytest.raises(ValueError, match="given twice"):
        make(saved, NAMES, OUTPUTS, NAMES)
    with pytest.raises(KeyError, match="none"):
        make(saved, {"a": "none:0"}, OUTPUTS)
    with pytest.raises(TypeError, match="given both"):
        make(saved, export_dir=saved)
    with pytest.raises(TypeError, match="not given"):
        make()


def test_it_is_open_until_closed(make: Callable[..., EIPredictor], models: Path) -> None:
    with make(models / "saved", "words") as predictor:
        predictor({"words": ["x"]})
    for use in (
        lambda: predictor({"words": ["x"]}),
        lambda: predictor.feed_tensors,
        predictor.explain,
    ):
        with pytest.raises(RuntimeError, match="closed EIPredictor"):
            use()
    predictor.close()
    assert repr(predictor) == "<EIPredictor, closed>"


def test_warm_up(make: Callable[..., EIPredictor], models: Path) -> None:
    make(models / "saved", "serving_default").warm_up()
    words = make(models / "saved", "words")
    with pytest.raises(ValueError, match="no value to warm up the input 'words'"):
        words.warm_up()
    words.warm_up({"words": ["x"]})


def test_many_threads(make: Callable[..., EIPredictor], models: Path) -> None:
    predictor = make(models / "saved", "serving_default")

    def work(number: int) -> None:
        results = predictor({"x": X, "scale": number} if number % 3 else {"x": X})
        np.testing.assert_allclose(results["y"], X @ WEIGHTS * (number if number % 3 else 2), 1e-6)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(48)))


def test_an_input_that_no_output_needs(make: Callable[..., EIPredictor], models: Path) -> None:
    predictor = make(models / "saved", {**NAMES, "unused": "words:0"}, OUTPUTS)
    assert predictor({"a": X, "b": 2})["product"].shape == (2, 2)
    assert predictor({"a": X, "b": 2, "unused": ["x"]})["product"].shape == (2, 2)


def test_tensorflows_own_predictor(models: Path) -> None:
    predictor = shims._from_saved_model(str(models / "saved"), "words")
    assert predictor.session is not None
    assert predictor({"words": ["x"]})["upper"].tolist() == [b"X"]


def test_what_only_a_local_one_has(models: Path, target: Accelerator) -> None:
    import tensorflow as tf

    mine = tf.Graph()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
    with EIPredictor(
        models / "saved", "words", graph=mine, config=config, use_ei=False
    ) as predictor:
        assert predictor.graph is predictor.session.graph is mine
        assert mine.get_tensor_by_name("words:0") is predictor.feed_tensors["words"]
        assert "own TensorFlow" in predictor.explain()
    with EIPredictor(models / "saved", "words", config=config, accelerator_id=target) as predictor:
        for name in ("graph", "session"):
            with pytest.raises(AttributeError, match="use_ei=False"):
                getattr(predictor, name)


def test_deleting_it_gives_the_model_up(models: Path, target: Accelerator) -> None:
    before = target.usage()
    predictor = EIPredictor(models / "frozen.pb", IMAGE, DOUBLED, accelerator_id=target)
    predictor.warm_up()
    (execution,) = [predictor._runner._execution]  # type: ignore[union-attr]
    del predictor
    with pytest.raises(errors.UnavailableError, match="closed"):
        execution.run({"inputs": np.ones((1, 2, 2, 1), np.uint8)})
    assert target.usage()["requests"] > before["requests"]


def test_explanations(models: Path, target: Accelerator) -> None:
    with EIPredictor(models / "saved", "words", accelerator_id=target) as predictor:
        text = predictor.explain()
        assert "StringUpper" in text
        assert explain(predictor) == explain(models / "saved", "words") == text


def test_a_model_for_which_the_accelerator_does_nothing(
    models: Path, target: Accelerator, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"7")
    with pytest.warns(RuntimeWarning, match="Nothing of this model runs on the accelerator"):
        predictor = EIPredictor(models / "saved", "read", accelerator_id=target)
    assert predictor({"path": str(tmp_path / "file")}) == {"content": b"7"}


def test_without_any_accelerator_it_runs_locally(
    monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.setenv("EI_VISIBLE_DEVICES", "")
    assert EIPredictor(models / "saved", "words").session is not None
    monkeypatch.delenv("EI_VISIBLE_DEVICES")
    monkeypatch.setattr(attach, "_connected", {})
    monkeypatch.setattr(attach, "connect", _nobody)
    with pytest.warns(RuntimeWarning, match="the model runs in this process's own TensorFlow"):
        predictor = EIPredictor(models / "saved", "words")
    assert predictor({"words": ["x"]})["upper"].tolist() == [b"X"]


def _nobody(*_: Any) -> Any:
    # Stands for a machine without a metadata service, whose address must not be asked here.
    raise errors.UnavailableError("No instance metadata service answers.")


def _attach(process: AcceleratorProcess) -> Accelerator:
    return connect(
        settings=ClientSettings(recovery_timeout=0.2),
        address=Address(socket_path=str(process.config.data_socket)),
        token=process.token(),
    )


@pytest.mark.parametrize("on_loss", ["error", "local"])
def test_a_lost_accelerator(
    on_loss: str,
    start_accelerator: Callable[..., AcceleratorProcess],
    monkeypatch: pytest.MonkeyPatch,
    models: Path,
) -> None:
    import tensorflow as tf

    monkeypatch.setenv("EI_ON_LOSS", on_loss)
    process = start_accelerator()
    lost = _attach(process)
    predictor = EIPredictor(models / "frozen.pb", IMAGE, DOUBLED, accelerator_id=lost)
    feeds = {"inputs": np.ones((1, 2, 2, 1))}
    assert predictor(feeds)["outputs"].sum() == 8
    process.process.kill()
    process.process.wait(10)
    if on_loss == "error":
        with pytest.raises(tf.errors.UnavailableError) as caught:
            predictor(feeds)
        assert isinstance(caught.value, errors.UnavailableError)
    else:
        with pytest.warns(RuntimeWarning, match="goes on with this process's own TensorFlow"):
            assert predictor(feeds)["outputs"].sum() == 8
        # Warnings are errors in tests: a second one would end these.
        assert predictor(feeds)["outputs"].sum() == 8
        assert predictor.session is not None
        with pytest.warns(RuntimeWarning, match="goes on with this process's own TensorFlow"):
            assert EIPredictor(models / "frozen.pb", IMAGE, DOUBLED, accelerator_id=lost)
    predictor.close()
    lost.close()
