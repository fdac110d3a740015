from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow.plan import Plan
from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import number_field, submessage
from elastic_inference.serving import loading
from elastic_inference.serving.batching import Scheduler
from elastic_inference.serving.batching_parameters import BatchingParameters
from elastic_inference.serving.loading import LoaderOptions, SavedModelLoader
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.servable import SavedModel

_FLOAT, _STRING = 1, 7


def _tensor(name: str, dtype: int, *sizes: int) -> bytes:
    dims = b"".join(submessage(2, number_field(1, size % 2**64)) for size in sizes)
    return submessage(1, name.encode()) + number_field(2, dtype) + submessage(3, dims)


def _entry(number: int, key: str, value: bytes) -> bytes:
    return submessage(number, submessage(1, key.encode()) + submessage(2, value))


def _signature(dtype: int = _FLOAT, rows: int = -1) -> bytes:
    return (
        _entry(1, "x", _tensor("x:0", dtype, rows, 2))
        + _entry(2, "y", _tensor("y:0", dtype, rows, 2))
        + submessage(3, b"tensorflow/serving/predict")
    )


def _write(folder: Path, **signatures: bytes) -> Path:
    meta = submessage(1, submessage(4, b"serve"))
    meta += b"".join(_entry(5, key, value) for key, value in signatures.items())
    folder.mkdir(exist_ok=True)
    (folder / SAVED_MODEL).write_bytes(submessage(2, meta))
    return folder


class Execution:
    """Stands in for a plan's execution: doubles."""

    made: list[Execution]
    fails: Mapping[str, ElasticInferenceError]

    def __init__(self, plan: Any, accelerator: None, *, config: bytes = b"") -> None:
        del accelerator, config
        self.key = plan
        if plan in self.fails:
            raise self.fails[plan]
        self.calls: list[Mapping[str, Array]] = []
        self.is_closed = False
        self.made.append(self)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        del outputs
        assert not self.is_closed
        self.calls.append(inputs)
        return {"y": inputs["x"] * 2}

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def executions(monkeypatch: pytest.MonkeyPatch) -> type[Execution]:
    class Own(Execution):
        made: list[Execution] = []  # noqa: RUF012 - one for each test
        fails: Mapping[str, ElasticInferenceError] = {}

    monkeypatch.setattr(loading, "Execution", Own)
    return Own


class Preparing:
    """Stands in for `prepare`: a plan is its signature's key."""

    def __init__(self, **errors: ElasticInferenceError) -> None:
        self.errors = errors
        self.calls: list[list[str]] = []

    def __call__(self, sources: Sequence[Source]) -> list[Plan]:
        keys = [source.signature for source in sources]
        self.calls.append(keys)
        for key in keys:
            if key in self.errors:
                raise self.errors[key]
        return keys  # type: ignore[return-value]


def _load(
    folder: Path,
    prepare: Preparing,
    scheduler: Scheduler | None = None,
    metrics: Metrics | None = None,
    **options: Any,
) -> SavedModel:
    loader = SavedModelLoader(
        None, prepare, metrics or Metrics(), LoaderOptions(**options), scheduler
    )
    return loader("m", 1, folder)


_X = {"x": np.ones((1, 2), np.float32)}


def test_all_signatures_in_one_call(tmp_path: Path, executions: type[Execution]) -> None:
    folder = _write(tmp_path, a=_signature(), b=_signature(), __saved_model_init_op=b"")
    prepare, metrics = Preparing(), Metrics()
    servable = _load(folder, prepare, metrics=metrics)
    assert prepare.calls == [["a", "b"]]
    assert set(servable.signatures) == {"a", "b", "__saved_model_init_op"}
    assert servable.predict("b", _X, (), None)["y"].tolist() == [[2, 2]]
    # Each ran once on zeros before that.
    assert [len(each.calls) for each in executions.made] == [1, 2]
    servable.close()
    assert all(each.is_closed for each in executions.made)
    assert 'load_attempt_count{model_path="' in metrics.text()
    assert 'status="success"} 1' in metrics.text()


def test_no_warm_up_where_none_is_wanted(tmp_path: Path, executions: type[Execution]) -> None:
    _load(_write(tmp_path, a=_signature()), Preparing(), warms_up=False)
    assert executions.made[0].calls == []


def test_strings_are_not_warmed_up(tmp_path: Path, executions: type[Execution]) -> None:
    _load(_write(tmp_path, a=_signature(_STRING)), Preparing())
    assert executions.made[0].calls == []


def test_a_signature_that_cannot_be_loaded_leaves_the_others(
    tmp_path: Path, executions: type[Execution]
) -> None:
    executions.fails = {"b": InternalError("the engine refuses it")}
    folder = _write(tmp_path, a=_signature(), b=_signature(), c=_signature())
    prepare = Preparing(c=ModelFormatError("cannot be frozen"))
    servable = _load(folder, prepare)
    assert prepare.calls == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    servable.predict("a", _X, (), None)
    with pytest.raises(InternalError, match="the engine refuses it"):
        servable.predict("b", _X, (), None)
    with pytest.raises(ModelFormatError, match="cannot be frozen"):
        servable.predict("c", _X, (), None)


def test_a_version_without_any_signature_that_can_be_loaded(tmp_path: Path) -> None:
    metrics = Metrics()
    folder = _write(tmp_path, a=_signature())
    with pytest.raises(ModelFormatError, match="cannot be frozen"):
        _load(folder, Preparing(a=ModelFormatError("cannot be frozen")), metrics=metrics)
    assert 'status="fail"} 1' in metrics.text()
    with pytest.raises(ModelFormatError, match="has no signature"):
        _load(_write(tmp_path), Preparing())


def test_a_lost_accelerator_fails_the_version(tmp_path: Path, executions: type[Execution]) -> None:
    executions.fails = {"b": UnavailableError("lost")}
    folder = _write(tmp_path, a=_signature(), b=_signature())
    with pytest.raises(UnavailableError, match="lost"):
        _load(folder, Preparing())
    assert [each.is_closed for each in executions.made] == [True]
    with pytest.raises(UnavailableError, match="busy"):
        _load(folder, Preparing(b=UnavailableError("busy")))


def test_inputs_that_a_request_leaves_out(tmp_path: Path, executions: type[Execution]) -> None:
    default = number_field(1, _FLOAT) + submessage(5, np.asarray([3.0], np.float32).tobytes())
    shape = submessage(2, submessage(2, number_field(1, 1)))
    signature = _signature() + _entry(1, "scale", _tensor("s:0", _FLOAT, 1))
    signature += _entry(4, "scale", default + shape)
    servable = _load(_write(tmp_path, a=signature), Preparing(), warms_up=False)
    (execution,) = executions.made
    servable.predict("a", _X, (), None)
    assert execution.calls[-1]["scale"].tolist() == [3.0]
    servable.predict("a", {**_X, "scale": np.ones(1, np.float32)}, (), None)
    assert execution.calls[-1]["scale"].tolist() == [1.0]
    with pytest.raises(InvalidRequestError, match=r"Missing but required: \{x\}"):
        servable.predict("a", {}, (), None)


def test_other_tags(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="has no meta graph with the tags gpu"):
        _load(_write(tmp_path, a=_signature()), Preparing(), tags=("gpu",))


@pytest.mark.parametrize(("rows", "is_batched"), [(-1, True), (4, False)])
def test_only_signatures_with_any_number_of_rows_are_batched(
    tmp_path: Path, rows: int, is_batched: bool
) -> None:
    scheduler, metrics = Scheduler(BatchingParameters(threads=1)), Metrics()
    folder = _write(tmp_path, a=_signature(rows=rows))
    servable = _load(folder, Preparing(), scheduler, metrics)
    servable.predict("a", _X, (), None)
    assert ('processed_batch_size_count{model_name="m"} 1' in metrics.text()) == is_batched
    servable.close()
    scheduler.close()


def test_parameters_that_the_version_brings(tmp_path: Path) -> None:
    scheduler, metrics = Scheduler(BatchingParameters(threads=1)), Metrics()
    folder = _write(tmp_path, a=_signature())
    servable = _load(folder, Preparing(), scheduler, metrics, reads_parameters=True)
    servable.predict("a", _X, (), None)
    assert "processed_batch_size_count" not in metrics.text()
    (folder / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 8 } allowed_batch_sizes: 8"
    )
    servable = _load(folder, Preparing(), scheduler, metrics, reads_parameters=True)
    servable.predict("a", _X, (), None)
    assert 'processed_batch_size_sum{model_name="m"} 8' in metrics.text()
    scheduler.close()
