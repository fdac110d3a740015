"""Runs a plan: its segments in order, each where it belongs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from elastic_inference.client import Accelerator
from elastic_inference.client.model import Model
from elastic_inference.errors import ConfigurationError, InvalidRequestError
from elastic_inference.frameworks.tensorflow.plan import (
    ACCELERATOR,
    ONNX,
    Plan,
    Segment,
    Tensor,
)
from elastic_inference.protocol.tensorflow import DATATYPES, GRAPH, INTERFACE, carrier_of
from elastic_inference.protocol.tensors import Array, Value

_BFLOAT16 = "bfloat16"
# Each set of outputs that is asked for has steps of its own.
_MOST_ROUTES = 64


class _Part(Protocol):
    """A loaded segment; values go by its ports."""

    def run(self, feeds: Mapping[str, Any], outputs: Any = None) -> list[Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Step:
    """What one segment does for some outputs.

    Attributes:
        feeds: port and tensor name of each value that goes in.
        ports: what is asked of it, and the names that these values then have.
    """

    part: _Part
    feeds: tuple[tuple[str, str], ...]
    ports: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Route:
    """How some outputs come about.

    Attributes:
        inputs: keys of the signature that must be fed.
        fetches: key and tensor name of each output.
    """

    inputs: tuple[str, ...]
    steps: tuple[_Step, ...]
    fetches: tuple[tuple[str, str], ...]


class Execution:
    """A loaded plan. `run` may be called from many threads.

    Attributes:
        plan: what is run.
    """

    def __init__(self, plan: Plan, accelerator: Accelerator | None, *, config: bytes = b"") -> None:
        """Load all segments.

        Args:
            config: a serialised ConfigProto for what runs on the instance.

        Raises:
            ConfigurationError: a segment is for TensorFlow on the instance, which has none.
            ElasticInferenceError: what `Accelerator.load` raises.
        """
        self.plan = plan
        self._routes: dict[frozenset[str], _Route] = {}
        self._keys = {tensor.name: key for key, tensor in plan.inputs.items()}
        self._stack = ExitStack()
        self._parts: list[tuple[Segment, _Part]] = []
        with ExitStack() as undo:
            for segment in plan.segments:
                part = _load(plan.folder, segment, accelerator, config)
                undo.callback(part.close)
                self._parts.append((segment, part))
            self._stack = undo.pop_all()
        self._all = self._route(frozenset(plan.outputs))

    def run(
        self, feeds: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """The values of `outputs`, all if None, by the signature's keys.

        Args:
            feeds: by the signature's keys, in the dtypes of `plan.inputs`.

        Raises:
            InvalidRequestError: an input is missing, or a name, dtype or shape does not fit.
            ElasticInferenceError: what `Model.run` raises.
        """
        route = self._all if outputs is None else self._route(frozenset(outputs))
        inputs = self.plan.inputs
        values: dict[str, Any] = {}
        for key in route.inputs:
            try:
                values[inputs[key].name] = feeds[key]
            except KeyError:
                raise InvalidRequestError(
                    f"The input {key!r} is missing.",
                    next_step=f"The model takes: {', '.join(inputs)}.",
                ) from None
        for step in route.steps:
            given = {port: values[name] for port, name in step.feeds}
            results = step.part.run(given, step.ports)
            values.update(zip(step.names, results, strict=True))
        return {key: values[name] for key, name in route.fetches}

    def close(self) -> None:
        """Give up all segments."""
        self._stack.close()

    def _route(self, outputs: frozenset[str]) -> _Route:
        route = self._routes.get(outputs)
        if route is None:
            route = self._find_route(outputs)
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[outputs] = route
        return route

    def _find_route(self, outputs: frozenset[str]) -> _Route:
        known = self.plan.outputs
        unknown = outputs - known.keys()
        if unknown:
            raise InvalidRequestError(
                f"The model has no output {min(unknown)!r}.",
                next_step=f"It has: {', '.join(known)}.",
            )
        fetches = tuple((key, known[key].name) for key in known if key in outputs)
        needed = {name for _, name in fetches}
        steps: list[_Step] = []
        for segment, part in reversed(self._parts):
            made = [tensor for tensor in segment.outputs if tensor.name in needed]
            if not made:
                continue
            needed.update(tensor.name for tensor in segment.inputs)
            steps.append(
                _Step(
                    part,
                    tuple((tensor.port, tensor.name) for tensor in segment.inputs),
                    tuple(tensor.port for tensor in made),
                    tuple(tensor.name for tensor in made),
                )
            )
        keys = tuple(key for name, key in self._keys.items() if name in needed)
        return _Route(keys, tuple(reversed(steps)), fetches)


def _load(folder: Path, segment: Segment, accelerator: Accelerator | None, config: bytes) -> _Part:
    if segment.place != ACCELERATOR:
        from elastic_inference.frameworks.tensorflow.local import (  # noqa: PLC0415
            LocalSegment,  # loads TensorFlow
        )

        return LocalSegment(folder, segment, config)
    if accelerator is None:
        raise ConfigurationError(
            "The model runs on an accelerator, and none is attached to this process.",
            next_step="Start it under `ei run --accelerator TYPE -- COMMAND`.",
        )
    path = folder / segment.file
    model = accelerator.load(
        path if segment.engine == ONNX else {GRAPH: path, INTERFACE: interface(segment)}
    )
    crossing = (*segment.inputs, *segment.outputs)
    narrow = frozenset(tensor.port for tensor in crossing if tensor.dtype == _BFLOAT16)
    return _Narrow(model, narrow) if narrow else model


class _Narrow:
    """A model on the accelerator that takes or gives bfloat16: numpy has no such dtype."""

    def __init__(self, model: Model, narrow: frozenset[str]) -> None:
        self._model = model
        self._narrow = narrow
        self.close = model.close

    def run(self, feeds: Mapping[str, Array], outputs: Any = None) -> list[Value]:
        narrow = self._narrow
        carried = {
            port: np.asarray(value).view(np.uint16) if port in narrow else value
            for port, value in feeds.items()
        }
        results = self._model.run(carried, outputs)
        return [
            bfloat16(np.asarray(value)) if port in narrow else value
            for port, value in zip(outputs, results, strict=True)
        ]


def bfloat16(carried: Array) -> Array:
    """The uint16 array `carried` as bfloat16, where this process has that dtype."""
    module = sys.modules.get("ml_dtypes")
    return carried if module is None else carried.view(module.bfloat16)


def interface(segment: Segment) -> bytes:
    """What an accelerator is told of a frozen graph beside the graph itself."""
    document = {
        "inputs": [_described(tensor) for tensor in segment.inputs],
        "outputs": [_described(tensor) for tensor in segment.outputs],
        "initializer": segment.initializer,
    }
    return json.dumps(document, sort_keys=True).encode()


def _described(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.port,
        "tensor": tensor.port,
        "dtype": tensor.dtype,
        "shape": None if tensor.shape is None else list(tensor.shape),
    }


def as_fed(value: Any, tensor: Tensor) -> Array:
    """`value` as an array of the tensor's dtype, cast as TensorFlow's Session.run casts.

    Raises:
        InvalidRequestError: it cannot be one.
    """
    wanted = carrier_of(tensor.dtype)
    if tensor.dtype == _BFLOAT16:
        array = np.asarray(value)
        return array if array.dtype.name in {_BFLOAT16, "uint16"} else _to_bfloat16(array)
    try:
        return np.asarray(value, dtype=wanted)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"A value for {tensor.name} cannot be made {DATATYPES[tensor.dtype]}: {error}."
        ) from error


def _to_bfloat16(array: Array) -> Array:
    """Round to nearest, ties to even, as hardware does."""
    bits = np.asarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), np.uint16(0x7FC0), rounded).astype(np.uint16)
