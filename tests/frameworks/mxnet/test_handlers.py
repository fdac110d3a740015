"""Model servers' handlers: of SageMaker's toolkit, and of Multi Model Server."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from tests.frameworks.mxnet.networks import convolutional, random_parameters

ROOT = Path(__file__).resolve().parents[3]
pytest.importorskip("PIL.Image")


def save_model(folder: Path) -> Any:
    """A model as MXNet's containers keep it; what it says of ones."""
    net = convolutional()
    arguments, states = random_parameters(net, data=(2, 3, 16, 16))
    mx.model.save_checkpoint(str(folder / "model"), 0, net, arguments, states)
    shapes = [{"name": "data", "shape": [2, 3, 16, 16]}]
    (folder / "model-shapes.json").write_text(json.dumps(shapes))
    data = mx.nd.ones((2, 3, 16, 16))
    bound = net.bind(mx.cpu(), arguments | {"data": data}, aux_states=states)
    return bound.forward()[0].asnumpy()


def load(folder: Path) -> Any:
    """As SageMaker's default handler loads a model where there is an accelerator."""
    signature = json.loads((folder / "model-shapes.json").read_text())
    names = [each["name"] for each in signature]
    shapes = [(each["name"], each["shape"]) for each in signature]
    net, arguments, states = mx.model.load_checkpoint(str(folder / "model"), 0)
    mod = mx.mod.Module(symbol=net, context=mx.eia(), data_names=names, label_names=None)
    mod.bind(for_training=False, data_shapes=shapes)
    mod.set_params(arguments, states, allow_missing=True)
    return mod


def batches(array: Any, model: Any) -> Any:
    """As that handler makes batches of what a request brings."""
    ndarray = mx.nd.array(array).as_in_context(mx.cpu())
    [data_shape] = model.data_shapes
    _, target = data_shape
    ndarray = ndarray.reshape((-1, *target[1:]))
    size = data_shape[1][0]
    rows = max(0, size - ndarray.shape[0])
    if rows:
        padding = mx.ndarray.zeros(shape=(rows, *ndarray.shape[1:]))
        ndarray = mx.ndarray.concat(ndarray, padding, dim=0)
    found = mx.io.NDArrayIter(ndarray, batch_size=size, last_batch_handle="pad")
    if rows:
        found.getpad = lambda: rows
    return found


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.usefixtures("eia")
def test_sagemaker_s_handler_predicts(tmp_path: Path, rows: int) -> None:
    expected = save_model(tmp_path)
    model = load(tmp_path)
    array = np.ones((rows, 3, 16, 16))
    for given in (array, array.reshape(rows, -1)):
        prediction = model.predict(batches(given, model))
        assert isinstance(prediction, mx.nd.NDArray)
        np.testing.assert_allclose(
            prediction.asnumpy(), np.repeat(expected[:1], rows, axis=0), rtol=1e-5
        )
        assert len(prediction.asnumpy().tolist()) == rows
    model.close()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's custom service, in which `import mxnet` is what it is under `ei run`."""
    monkeypatch.setitem(sys.modules, "mxnet", mx)
    path = ROOT / "examples" / "mms" / "service" / "model_service.py"
    spec = importlib.util.spec_from_file_location("model_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example's model archive holds, and beside it a picture."""
    folder = tmp_path_factory.mktemp("mms") / "model"
    sys.path.insert(0, str(ROOT / "examples" / "mms"))
    try:
        importlib.import_module("archive").fill(folder, small=True)
    finally:
        sys.path.remove(str(ROOT / "examples" / "mms"))
    return folder


@pytest.mark.usefixtures("eia")
def test_the_custom_service_classifies_pictures(service: Any, archive: Path) -> None:
    context = SimpleNamespace(system_properties={"model_dir": str(archive), "gpu_id": None})
    assert service.handle(None, context) is None
    picture = (archive.parent / "made" / "cat.jpg").read_bytes()
    (answer,) = service.handle([{"body": picture}], context)
    assert [set(each) for each in answer] == [{"probability", "class"}] * 5
    assert answer[0]["class"] == "n00000000 cat"
    assert answer == sorted(answer, key=lambda each: -each["probability"])
    json.dumps(answer)
    several = service.handle([{"data": bytearray(picture)}, {"body": b"none"}, {}], context)
    assert several[0][0]["class"] == answer[0]["class"]
    assert several[1:] == ["Corrupted image input"] * 2


def test_a_broken_archive_is_told_when_the_service_starts(
    service: Any, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "signature.json").write_text((archive / "signature.json").read_text())
    context = SimpleNamespace(system_properties={"model_dir": str(tmp_path)})
    with pytest.raises(ValueError, match="unpack"):
        service.handle(None, context)
