"""Loads versions onto the accelerator."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    DeadlineExceededError,
    ElasticInferenceError,
    ModelFormatError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow.execution import Execution
from elastic_inference.frameworks.tensorflow.plan import Plan, Tensor
from elastic_inference.frameworks.tensorflow.signatures import (
    INIT_OP,
    Signature,
    read_signatures,
)
from elastic_inference.frameworks.tensorflow.source import SERVE, Source
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving import batching_parameters
from elastic_inference.serving.batching import Queue, Results, Scheduler
from elastic_inference.serving.batching_parameters import BatchingParameters
from elastic_inference.serving.defaults import defaults_of
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.servable import Entry, SavedModel
from elastic_inference.serving.warmup import warm_up

_log = logging.getLogger(__name__)
_PARAMETERS = "batching_params.pbtxt"
# These say nothing about a signature: the version is loaded another time.
_PASSING = (AcceleratorOutOfMemoryError, DeadlineExceededError, UnavailableError)

Prepare = Callable[[Sequence[Source]], list[Plan]]


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """How versions are loaded.

    Attributes:
        tags: of the meta graph.
        config: a ConfigProto for what runs on the instance.
        reads_parameters: whether versions bring BatchingParameters of their own.
        checks_methods: whether signatures' method names matter.
        warms_up: whether versions run once before they are served, and how often.
    """

    tags: tuple[str, ...] = (SERVE,)
    config: bytes = b""
    reads_parameters: bool = False
    checks_methods: bool = False
    warms_up: bool = True
    iterations: int = 1


class SavedModelLoader:
    """Makes servables out of folders. May be called from many threads."""

    def __init__(
        self,
        accelerator: Accelerator | None,
        prepare: Prepare,
        metrics: Metrics,
        options: LoaderOptions,
        scheduler: Scheduler | None = None,
    ) -> None:
        """
        Args:
            prepare: makes plans of sources.
            scheduler: puts requests together, or None.
        """
        self._accelerator = accelerator
        self._prepare = prepare
        self._metrics = metrics
        self._options = options
        self._scheduler = scheduler

    def __call__(self, name: str, version: int, path: Path) -> SavedModel:
        """The version in the folder `path`, ready for requests.

        Raises:
            ModelFormatError: the folder's model cannot be read.
            ElasticInferenceError: none of its signatures can be loaded.
        """
        began = time.monotonic()
        try:
            servable = self._load(name, version, path)
        except BaseException:
            self._metrics.observe_load(str(path), "fail", time.monotonic() - began)
            raise
        self._metrics.observe_load(str(path), "success", time.monotonic() - began)
        return servable

    def _load(self, name: str, version: int, path: Path) -> SavedModel:
        signatures = read_signatures(path, self._options.tags)
        errors: dict[str, ElasticInferenceError] = {}
        plans = self._plans(path, [key for key in signatures if key != INIT_OP], errors)
        entries: dict[str, Entry] = {}
        parameters = self._parameters(path)
        try:
            for key, plan in plans.items():
                try:
                    entries[key] = self._entry(name, signatures[key], plan, parameters)
                except _PASSING:
                    raise
                except ElasticInferenceError as error:
                    errors[key] = error
            if not entries:
                raise next(iter(errors.values()), _nothing(path))
            for key, failure in errors.items():
                _log.warning(
                    "Signature %s of {name: %s version: %d} is not served: %s",
                    *(key, name, version, failure),
                )
            servable = SavedModel(
                version,
                signatures,
                entries,
                errors,
                checks_methods=self._options.checks_methods,
            )
            if self._options.warms_up:
                self._warm_up(servable, path, entries)
        except BaseException:
            for entry in entries.values():
                entry.release()
            raise
        return servable

    def _plans(
        self, path: Path, keys: Sequence[str], errors: dict[str, ElasticInferenceError]
    ) -> dict[str, Plan]:
        sources = [Source(path, self._options.tags, key) for key in keys]
        try:
            return dict(zip(keys, self._prepare(sources), strict=True))
        except _PASSING:
            raise
        except ElasticInferenceError as failure:
            if len(sources) == 1:
                raise
            _log.info("Not all signatures can be prepared together: %s", failure)
        plans = {}
        for key, source in zip(keys, sources, strict=True):
            try:
                plans[key] = self._prepare([source])[0]
            except _PASSING:
                raise
            except ElasticInferenceError as failure:
                errors[key] = failure
        return plans

    def _parameters(self, path: Path) -> BatchingParameters | None:
        """What the version's requests are put together by; None if they are not."""
        if self._scheduler is None:
            return None
        if not self._options.reads_parameters:
            return self._scheduler.parameters
        own = path / _PARAMETERS
        return batching_parameters.read(str(own)) if own.is_file() else None

    def _entry(
        self,
        name: str,
        signature: Signature,
        plan: Plan,
        parameters: BatchingParameters | None,
    ) -> Entry:
        for tensor in signature.inputs.values():
            carrier_of(tensor.dtype)
        defaults = defaults_of(signature)
        execution = Execution(plan, self._accelerator, config=self._options.config)

        def run(inputs: Mapping[str, Array], outputs: Sequence[str]) -> Results:
            return execution.run(inputs, outputs)

        queue = None
        if parameters is not None and self._scheduler is not None and _has_rows(signature):
            queue = self._queue(name, self._scheduler, parameters, execution)
        return Entry(signature, run, execution.close, queue, defaults)

    def _queue(
        self,
        name: str,
        scheduler: Scheduler,
        parameters: BatchingParameters,
        execution: Execution,
    ) -> Queue:
        def run(inputs: Mapping[str, Array], outputs: Sequence[str]) -> Results:
            rows = next(iter(inputs.values())).shape[0]
            self._metrics.observe_batch(name, rows)
            return execution.run(inputs, outputs)

        return scheduler.queue(run, parameters)

    def _warm_up(self, servable: SavedModel, path: Path, entries: Mapping[str, Entry]) -> None:
        began = time.monotonic()
        status, records = "OK", 0
        try:
            records = warm_up(servable, path, self._options.iterations)
        except ElasticInferenceError as error:
            status = type(error).__name__
            raise
        finally:
            seconds = time.monotonic() - began
            self._metrics.observe_warmup(str(path), status, records, seconds)
        if not records:
            for key, entry in entries.items():
                _try_once(key, entry)


def _try_once(key: str, entry: Entry) -> None:
    """Run a signature on zeros, so that the first request need not wait for what runs once."""
    inputs = {name: _zeros(tensor) for name, tensor in entry.signature.inputs.items()}
    given = {name: array for name, array in inputs.items() if array is not None}
    if len(given) < len(inputs):
        return
    try:
        entry.run(given, tuple(entry.signature.outputs))
    except ElasticInferenceError as error:
        # Zeros need not be what it takes.
        _log.debug("Signature %s cannot be warmed up with zeros: %s", key, error)


def _zeros(tensor: Tensor) -> Array | None:
    if tensor.shape is None or tensor.dtype == "string":
        return None
    shape = tuple(1 if size is None else size for size in tensor.shape)
    return np.zeros(shape, carrier_of(tensor.dtype))


def _has_rows(signature: Signature) -> bool:
    """Whether inputs and outputs have any number of rows."""
    return all(
        tensor.shape is not None and tensor.shape[:1] == (None,)
        for tensor in signature.inputs.values()
    ) and all(
        tensor.shape is None or tensor.shape[:1] == (None,) for tensor in signature.outputs.values()
    )


def _nothing(path: Path) -> ModelFormatError:
    return ModelFormatError(
        f"The model in {path} has no signature.",
        next_step="Save it with one, as tf.saved_model.save(module, path, signatures=...) does.",
    )
