"""Every model of the zoo gives on an accelerator what it gives in TensorFlow."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.tensorflow.plan import Plan
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.settings import ClientSettings
from elastic_inference.tensorflow import EIPredictor
from tests.frameworks.tensorflow import zoo
from tests.frameworks.tensorflow.zoo_graphs import INSTANCE, Array, Case, Feeds
from tests.processes import AcceleratorProcess

# Networks whose conversion takes the longest; ResNet50 and MobileNetV2 stand for them elsewhere.
_LONG = ("inception_v3", "efficientnet_b0")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# By dtype: of each element, and of the largest one. Results of other dtypes are equal.
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "float32": (1e-3, 1e-5),
    "float16": (5e-3, 1e-3),
    "bfloat16": (4e-2, 1e-2),
}
_TRIALS = 2


@pytest.fixture(scope="module")
def large() -> Iterator[Accelerator]:
    """An eia1.large."""
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        process = AcceleratorProcess(
            Path(name), accelerator_type="eia1.large", memory_bytes=2 << 30, threads=2
        )
        address = Address(socket_path=str(process.config.data_socket))
        try:
            with connect(
                settings=ClientSettings(), address=address, token=process.token(lifetime=3600.0)
            ) as target:
                yield target
        finally:
            process.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models lie. One process prepares all those for which that takes no time."""
    folder = tmp_path_factory.mktemp("models")
    sources = [_source(name, folder) for name, case in zoo.CASES.items() if not case.slow]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        # Whichever of them fails, fails in its own test.
        with contextlib.suppress(ElasticInferenceError):
            prepare(sources)
    return folder


def _source(name: str, folder: Path) -> Source:
    case = zoo.CASES[name]
    signature = "" if case.inputs else case.signature
    return Source(
        zoo.write(name, folder), signature=signature, inputs=case.inputs, outputs=case.outputs
    )


def _arguments(case: Case, path: Path) -> dict[str, Any]:
    if case.inputs:
        return {"model_dir": path, "input_names": case.inputs, "output_names": case.outputs}
    return {"model_dir": path, "signature_def_key": case.signature}


def _in_tensorflow(case: Case, path: Path, trials: list[Feeds]) -> list[dict[str, Array]]:
    """What TensorFlow gives, in a session of its own."""
    import tensorflow as tf

    v1 = tf.compat.v1
    inputs, outputs = case.inputs, case.outputs
    with tf.Graph().as_default(), v1.Session() as session:
        if path.is_file():
            tf.import_graph_def(v1.GraphDef.FromString(path.read_bytes()), name="")
        else:
            loaded = v1.saved_model.load(session, ["serve"], str(path))
            signature = loaded.signature_def[case.signature]
            inputs, outputs = (
                {key: info.name for key, info in infos.items()}
                for infos in (signature.inputs, signature.outputs)
            )
        return [
            session.run(dict(outputs), {inputs[key]: value for key, value in feeds.items()})
            for feeds in trials
        ]


def _check(key: str, found: Array, expected: Array) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype, key
    assert found.shape == expected.shape, key
    if expected.dtype.name not in TOLERANCES:
        assert found.tolist() == expected.tolist(), key
        return
    relative, of_largest = TOLERANCES[expected.dtype.name]
    one, other = found.astype(np.float64), expected.astype(np.float64)
    allowed = of_largest * float(np.abs(other).max(initial=0.0))
    np.testing.assert_allclose(one, other, rtol=relative, atol=allowed, err_msg=key)


def _runs(plan: Plan, case: Case) -> tuple[str, ...]:
    """Where the segments run, as far as the case says it."""
    if "/" in case.runs[0]:
        return tuple(f"{segment.place}/{segment.engine}" for segment in plan.segments)
    return tuple(place for place, _ in groupby(segment.place for segment in plan.segments))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in _LONG)) for name in zoo.CASES],
)
@pytest.mark.filterwarnings("ignore:Nothing of this model runs on the accelerator:RuntimeWarning")
def test_it_gives_what_tensorflow_gives(name: str, models: Path, large: Accelerator) -> None:
    case, path = zoo.CASES[name], zoo.write(name, models)
    trials = [zoo.feeds(name, number) for number in range(_TRIALS)]
    (plan,) = prepare([_source(name, models)])
    with EIPredictor(**_arguments(case, path), accelerator_id=large) as predictor:
        found = [predictor(feeds) for feeds in trials]
    for answer, expected in zip(found, _in_tensorflow(case, path, trials), strict=True):
        assert answer.keys() == expected.keys()
        for key in expected:
            _check(key, answer[key], expected[key])
    reasons = [segment.reasons for segment in plan.segments]
    assert _runs(plan, case) == case.runs, reasons


def test_the_networks_that_everybody_uses_need_no_tensorflow_on_the_instance() -> None:
    for name in ("resnet50", "mobilenet_v2", "inception_v3", "efficientnet_b0", "mvcnn", "ssd"):
        assert INSTANCE not in zoo.CASES[name].runs
