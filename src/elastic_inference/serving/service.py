"""What the front ends ask: models by name, version, label and signature."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from elastic_inference.errors import ElasticInferenceError, InvalidRequestError
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.config import ModelServerConfig
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.statuses import UnsupportedError

T = TypeVar("T")
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a request is for.

    Attributes:
        version: the latest that is available if None and there is no label.
        signature: `serving_default` if "".
    """

    name: str
    version: int | None = None
    label: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer to `predict`.

    Attributes:
        spec: with the version and signature that answered.
    """

    spec: ModelSpec
    outputs: dict[str, Array]
    signature: Signature


@dataclass(frozen=True, slots=True)
class Classified:
    """An answer to `classify`.

    Attributes:
        rows: for each example its classes: label and score; "" and 0.0 where a model has none.
    """

    spec: ModelSpec
    rows: list[list[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class Regressed:
    """An answer to `regress`: a value for each example."""

    spec: ModelSpec
    values: list[float]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """Where a version stands.

    Attributes:
        state: one of START, LOADING, AVAILABLE, UNLOADING and END.
        error: why it ended, or None.
    """

    version: int
    state: str
    error: ElasticInferenceError | None = None


class Servable(Protocol):
    """A loaded version. Its methods may be called from many threads."""

    @property
    def version(self) -> int: ...

    @property
    def signatures(self) -> Mapping[str, Signature]: ...

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None,
    ) -> dict[str, Array]: ...

    def classify(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[list[tuple[str, float]]]: ...

    def regress(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[float]: ...


class Versions(Protocol):
    """All versions of all models."""

    def use(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """The version that `spec` is for, which is not unloaded within the context."""

    def status(self, spec: ModelSpec) -> list[VersionStatus]: ...

    def reload(self, config: ModelServerConfig) -> None: ...


class Service:
    """One data plane for all front ends. Its methods may be called from many threads.

    Deadlines are values of `time.monotonic`.
    """

    def __init__(self, versions: Versions, metrics: Metrics | None = None) -> None:
        self._versions = versions
        self._metrics = metrics or Metrics()

    def predict(
        self,
        spec: ModelSpec,
        inputs: Mapping[str, Array],
        outputs: Sequence[str] = (),
        *,
        deadline: float | None = None,
    ) -> Prediction:
        """Run a signature on `inputs`.

        Args:
            inputs: by the signature's keys, in its dtypes; bfloat16 as uint16, strings as
                object arrays of bytes.
            outputs: keys of the outputs to give; all if none are named.

        Raises:
            NotFoundError: there is no such model or version.
            InvalidRequestError: signature, inputs or outputs do not fit the model.
            UnavailableError: too many requests wait for a batch.
            DeadlineExceededError: the answer would have come too late.
            ElasticInferenceError: any other failure.
        """
        with self._versions.use(spec) as servable:
            key = spec.signature or DEFAULT_SIGNATURE
            began = time.monotonic()
            results = servable.predict(key, inputs, outputs, deadline)
            self._metrics.observe_runtime(spec.name, "Predict", time.monotonic() - began)
            return Prediction(_resolved(spec, servable), results, servable.signatures[key])

    def classify(
        self, spec: ModelSpec, examples: Sequence[bytes], *, deadline: float | None = None
    ) -> Classified:
        """Classes of serialized `tf.Example`s; errors as `predict`."""
        with self._versions.use(spec) as servable:
            return self._classify(servable, spec, examples, deadline)

    def regress(
        self, spec: ModelSpec, examples: Sequence[bytes], *, deadline: float | None = None
    ) -> Regressed:
        """Values of serialized `tf.Example`s; errors as `predict`."""
        with self._versions.use(spec) as servable:
            return self._regress(servable, spec, examples, deadline)

    def multi_inference(
        self,
        tasks: Sequence[tuple[ModelSpec, str]],
        examples: Sequence[bytes],
        *,
        deadline: float | None = None,
    ) -> list[Classified | Regressed]:
        """Several signatures of one version on the same examples; errors as `predict`.

        Args:
            tasks: each with its method name, `CLASSIFY` or `REGRESS`.
        """
        check_tasks(tasks)
        with self._versions.use(tasks[0][0]) as servable:
            return [
                self._classify(servable, spec, examples, deadline)
                if method == CLASSIFY
                else self._regress(servable, spec, examples, deadline)
                for spec, method in tasks
            ]

    def signatures(self, spec: ModelSpec) -> tuple[ModelSpec, Mapping[str, Signature]]:
        """The signatures of the version that `spec` is for.

        Raises:
            NotFoundError: there is no such model or version.
        """
        with self._versions.use(spec) as servable:
            return ModelSpec(spec.name, servable.version), servable.signatures

    def status(self, spec: ModelSpec) -> list[VersionStatus]:
        """Where the versions of a model stand, or the one that `spec` names.

        Raises:
            NotFoundError: there never was such a model or version.
        """
        return self._versions.status(spec)

    def reload(self, config: ModelServerConfig) -> None:
        """Serve what `config` says; returns when every model that is new is available.

        Raises:
            InvalidRequestError: the configuration is wrong; what was served stays.
            ElasticInferenceError: a new model cannot be loaded.
        """
        self._versions.reload(config)

    def _classify(
        self,
        servable: Servable,
        spec: ModelSpec,
        examples: Sequence[bytes],
        deadline: float | None,
    ) -> Classified:
        rows = self._run(servable.classify, "Classify", spec, examples, deadline)
        return Classified(_resolved(spec, servable), rows)

    def _regress(
        self,
        servable: Servable,
        spec: ModelSpec,
        examples: Sequence[bytes],
        deadline: float | None,
    ) -> Regressed:
        values = self._run(servable.regress, "Regress", spec, examples, deadline)
        return Regressed(_resolved(spec, servable), values)

    def _run(
        self,
        run: Callable[[str, Sequence[bytes], float | None], T],
        method: str,
        spec: ModelSpec,
        examples: Sequence[bytes],
        deadline: float | None,
    ) -> T:
        began = time.monotonic()
        result = run(spec.signature or DEFAULT_SIGNATURE, examples, deadline)
        self._metrics.observe_runtime(spec.name, method, time.monotonic() - began)
        self._metrics.observe_examples(spec.name, len(examples))
        return result


def _resolved(spec: ModelSpec, servable: Servable) -> ModelSpec:
    return ModelSpec(spec.name, servable.version, signature=spec.signature or DEFAULT_SIGNATURE)


def check_tasks(tasks: Sequence[tuple[ModelSpec, str]]) -> None:
    """Refuse tasks that cannot be done together, as TensorFlow Serving does.

    Raises:
        InvalidRequestError: they are of several models, twice the same, …
        UnsupportedError: a method is neither `CLASSIFY` nor `REGRESS`.
    """
    if not tasks:
        raise InvalidRequestError("Inference request has no tasks.")
    seen = set()
    for spec, method in tasks:
        if not spec.name:
            raise InvalidRequestError("Found ModelSpec with an empty model name.")
        if spec.name != tasks[0][0].name:
            raise InvalidRequestError(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        key = spec.signature or DEFAULT_SIGNATURE
        if key in seen:
            raise InvalidRequestError(f"Duplicate evaluation of signature: {key}")
        seen.add(key)
        if method not in (CLASSIFY, REGRESS):
            raise UnsupportedError(f"Unsupported signature method_name: {method}")
