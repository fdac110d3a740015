"""Runs the requests that a version brings along, before it is served.

https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    DeadlineExceededError,
    ElasticInferenceError,
    ModelFormatError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE
from elastic_inference.protocol.wireformat import BYTES, Span, fields
from elastic_inference.serving import messages, records
from elastic_inference.serving.service import CLASSIFY, ModelSpec, Servable, check_tasks

FILE = Path("assets.extra", "tf_serving_warmup_requests")
MOST_RECORDS = 1000
_LARGEST_RECORD = 1 << 30
_log = logging.getLogger(__name__)
# Failures that say nothing about the requests.
_PASSING = (AcceleratorOutOfMemoryError, DeadlineExceededError, UnavailableError)
_REQUEST = 1
_UNSUPPORTED = {5: "session_run_log", 7: "predict_streamed_log"}


def warm_up(servable: Servable, folder: Path, iterations: int = 1) -> int:
    """Run a version's warm-up requests; how many there are.

    Args:
        folder: the version's.
        iterations: how often each is run.

    Raises:
        ModelFormatError: the file is damaged, has too many records, or one fails.
        ElasticInferenceError: the accelerator is lost, or its memory is full.
    """
    path = folder / FILE
    if not path.is_file():
        _log.info("No warmup data file found at %s", path)
        return 0
    _log.info("Starting to read warmup data for model at %s", path)
    count = 0
    try:
        for record in records.read(path, _LARGEST_RECORD):
            count += 1
            if count > MOST_RECORDS:
                raise ModelFormatError(
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
                )
            _replay(servable, record, iterations, f"Warm-up record {count} of {path}")
    except OSError as error:
        raise ModelFormatError(f"{path} cannot be read: {error.strerror}.") from error
    _log.info("Finished reading warmup data for model at %s. Number of records: %d", path, count)
    return count


def _replay(servable: Servable, record: bytes, iterations: int, which: str) -> None:
    def refuse(why: str) -> ModelFormatError:
        return ModelFormatError(f"{which} is no PredictionLog: {why}.")

    for number, wire, span in fields(record, (0, len(record)), refuse):
        if wire != BYTES:
            continue
        if number in _UNSUPPORTED:
            raise ModelFormatError(f"{which} is a {_UNSUPPORTED[number]}, which is not supported.")
        run = _RUNS.get(number)
        if run is None:
            continue
        request = _request(record, span, refuse)
        try:
            for _ in range(iterations):
                run(servable, request)
        except _PASSING:
            raise
        except ElasticInferenceError as error:
            raise ModelFormatError(
                f"{which} failed: {error.message}", next_step=error.next_step
            ) from error


def _request(record: bytes, log: Span, refuse: Callable[[str], ModelFormatError]) -> bytes:
    found = b""
    for number, wire, (start, stop) in fields(record, log, refuse):
        if number == _REQUEST and wire == BYTES:
            found = record[start:stop]
    return found


def _predict(servable: Servable, data: bytes) -> None:
    request = messages.read_predict(data)
    servable.predict(_key(request.spec), request.inputs, request.outputs, None)


def _classify(servable: Servable, data: bytes) -> None:
    spec, examples = messages.read_inference(data)
    servable.classify(_key(spec), examples, None)


def _regress(servable: Servable, data: bytes) -> None:
    spec, examples = messages.read_inference(data)
    servable.regress(_key(spec), examples, None)


def _multi_inference(servable: Servable, data: bytes) -> None:
    tasks, examples = messages.read_multi_inference(data)
    check_tasks(tasks)
    for spec, method in tasks:
        run = servable.classify if method == CLASSIFY else servable.regress
        run(_key(spec), examples, None)


def _key(spec: ModelSpec) -> str:
    return spec.signature or DEFAULT_SIGNATURE


# By the number of the log's field.
_RUNS: Mapping[int, Callable[[Servable, bytes], None]] = {
    2: _classify,
    3: _regress,
    4: _multi_inference,
    6: _predict,
}
