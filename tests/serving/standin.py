"""A stand-in for the models of a server: it computes in numpy what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from elastic_inference.errors import ElasticInferenceError, InvalidRequestError, NotFoundError
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.config import ModelServerConfig
from elastic_inference.serving.service import PREDICT, ModelSpec, Service, VersionStatus

HALF_PLUS_TWO = Signature(
    {"x": Tensor("x:0", "float32", (None,))}, {"y": Tensor("y:0", "float32", (None,))}, PREDICT, b""
)
Inputs = Mapping[str, Array]


def signature(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Signature:
    """A signature with element types by keys."""
    return Signature(
        {key: Tensor(f"{key}:0", dtype, None) for key, dtype in inputs.items()},
        {key: Tensor(f"{key}:0", dtype, None) for key, dtype in outputs.items()},
        PREDICT,
        b"",
    )


def half_plus_two(inputs: Inputs) -> dict[str, Array]:
    return {"y": inputs["x"] * np.float32(0.5) + np.float32(2)}


@dataclass
class FakeServable:
    """No model: a function.

    Attributes:
        seen: the inputs, the output filter and the deadline of the last call.
        examples: those of the last call.
    """

    function: Callable[[Inputs], dict[str, Array]] = half_plus_two
    signatures: Mapping[str, Signature] = field(
        default_factory=lambda: {"serving_default": HALF_PLUS_TWO}
    )
    version: int = 123
    seen: tuple[Inputs, Sequence[str], float | None] | None = None
    examples: Sequence[bytes] = ()
    rows: list[list[tuple[str, float]]] = field(default_factory=lambda: [[("", 3.0)]])
    values: list[float] = field(default_factory=lambda: [3.0])

    def predict(
        self, key: str, inputs: Inputs, outputs: Sequence[str], deadline: float | None
    ) -> dict[str, Array]:
        if key not in self.signatures:
            raise InvalidRequestError(f'Serving signature key "{key}" not found.')
        self.seen = (inputs, outputs, deadline)
        return self.function(inputs)

    def classify(
        self, key: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[list[tuple[str, float]]]:
        self.seen = ({}, (key,), deadline)
        self.examples = examples
        return self.rows

    def regress(self, key: str, examples: Sequence[bytes], deadline: float | None) -> list[float]:
        self.seen = ({}, (key,), deadline)
        self.examples = examples
        return self.values


@dataclass
class FakeVersions:
    """One servable under the name `default`, and nothing else.

    Attributes:
        failure: raised by every use, if set.
        specs: what was asked for.
    """

    servable: FakeServable = field(default_factory=FakeServable)
    failure: Exception | None = None
    specs: list[ModelSpec] = field(default_factory=list)
    config: ModelServerConfig | None = None
    versions: list[VersionStatus] = field(default_factory=lambda: [VersionStatus(123, "AVAILABLE")])

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[FakeServable]:
        self.specs.append(spec)
        if self.failure is not None:
            raise self.failure
        if spec.name != "default":
            raise NotFoundError(f"Servable not found for request: Latest({spec.name})")
        yield self.servable

    def status(self, spec: ModelSpec) -> list[VersionStatus]:
        if spec.name != "default":
            raise NotFoundError(f"Could not find any versions of model {spec.name}")
        return self.versions

    def reload(self, config: ModelServerConfig) -> None:
        self.config = config


def service(versions: FakeVersions) -> Service:
    return Service(versions)


def failing(error: Exception) -> Callable[[Inputs], dict[str, Array]]:
    """A function that raises."""

    def fail(_: Inputs) -> dict[str, Array]:
        raise error

    return fail


@dataclass
class Gate:
    """A function that waits until it is let through."""

    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, inputs: Inputs) -> dict[str, Array]:
        self.entered.set()
        if not self.opened.wait(60):
            raise ElasticInferenceError("nobody opened the gate")
        return half_plus_two(inputs)
