"""Where a model, or a piece of one, runs: on the accelerator, here, or in turns.

All runners take and give values as ONNX Runtime's callers know them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.failures import invalid_argument, python_error
from elastic_inference.frameworks.onnxruntime.values import (
    PLAIN,
    ModelMetadata,
    from_ort_value,
    from_wire,
    is_plain,
    spec_of,
    to_ort_value,
    to_wire,
)
from elastic_inference.protocol.tensors import Packed, TensorSpec

if TYPE_CHECKING:
    from elastic_inference.client import Model


class Runner(Protocol):
    """A model that can be run."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: ModelMetadata
    providers: tuple[str, ...]

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """The values of `outputs`, all if None or empty, in that order."""

    def close(self) -> None:
        """Give the model up."""


class RemoteRunner:
    """A whole model, or a remote segment, on the accelerator."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs = model.inputs
        self.outputs = model.outputs
        self.metadata = ModelMetadata.from_wire(model.metadata)
        self.providers = tuple(getattr(model, "providers", ())) or ("CPUExecutionProvider",)
        self.plain = is_plain((*self.inputs, *self.outputs))
        self._inputs = {spec.name: spec for spec in self.inputs}
        self._outputs = {spec.name: spec for spec in self.outputs}
        self._absent = {spec.name for spec in self.inputs if spec.datatype == "OPTIONAL"}

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        names = check_names(self.inputs, self.outputs, outputs, feeds)
        wire = {
            name: to_wire(value, self._inputs[name]) if name in self._inputs else value
            for name, value in feeds.items()
            if value is not None or name not in self._absent
        }
        values = self.model.run(wire, list(dict.fromkeys(names)))
        if len(values) != len(names):
            by_name = dict(zip(dict.fromkeys(names), values, strict=True))
            values = [by_name[name] for name in names]
        return [
            from_wire(value, self._outputs[name]) for name, value in zip(names, values, strict=True)
        ]

    def close(self) -> None:
        self.model.close()


class LocalRunner:
    """A segment on this machine's ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = tuple(spec_of(arg) for arg in session.get_inputs())
        self.outputs = tuple(spec_of(arg) for arg in session.get_outputs())
        self.metadata = ModelMetadata()
        self.providers = tuple(session.get_providers())
        tensors = (*self.inputs, *self.outputs)
        self._needs_ort_values = any(
            spec.datatype not in PLAIN
            and spec.datatype not in {"BYTES", "SEQUENCE", "OPTIONAL", "MAP"}
            for spec in tensors
        )

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        names = list(outputs) if outputs else [spec.name for spec in self.outputs]
        if not self._needs_ort_values:
            return list(self.session.run(names, dict(feeds)))
        specs = {spec.name: spec for spec in self.inputs}
        given = {name: to_ort_value(value, specs[name]) for name, value in feeds.items()}
        kinds = {spec.name: spec for spec in self.outputs}
        return [
            from_wire(_copied(from_ort_value(value)), kinds[name])
            for name, value in zip(
                names, self.session.run_with_ort_values(names, given), strict=True
            )
        ]

    def close(self) -> None:
        self.session = None


def local_session(model: bytes | str, options: Any, **arguments: Any) -> Any:
    """A real ONNX Runtime session, whatever stands in its place elsewhere."""
    return real.InferenceSession(model, options, **arguments)


def check_names(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    wanted: Sequence[str] | None,
    feeds: Mapping[str, Any],
    known: Mapping[str, TensorSpec] | None = None,
) -> list[str]:
    """The names of the outputs to compute.

    Args:
        inputs, outputs: the model's.
        wanted: what the caller asks for; all if None or empty.
        feeds: what the caller gives.
        known: every name that may be fed; None leaves that to the accelerator, which knows
            of overridable weights too.

    Raises:
        ElasticInferenceError: as ONNX Runtime for missing and unknown names.
    """
    missing = [
        spec.name for spec in inputs if spec.name not in feeds and spec.datatype != "OPTIONAL"
    ]
    if missing:
        raise python_error(
            ValueError,
            f"Required inputs ({missing}) are missing from input feed ({list(feeds)}).",
        )
    for name in feeds:
        if known is not None and name not in known:
            raise invalid_argument(f"Invalid input name: {name}")
    if not wanted:
        return [spec.name for spec in outputs]
    if isinstance(wanted, str):
        raise python_error(
            TypeError, f"run(): the output names must be a list of names, not {wanted!r}."
        )
    present = {spec.name for spec in outputs}
    for name in wanted:
        if name not in present:
            raise invalid_argument(f"Invalid output name:{name}")
    return list(wanted)


def _copied(value: Any) -> Any:
    # The view's memory goes with the OrtValue.
    if isinstance(value, Packed):
        return Packed(value.datatype, value.shape, value.data.copy())
    return value.copy()
