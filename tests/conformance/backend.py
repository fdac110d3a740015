"""ONNX backends: ONNX Runtime in this process, and an accelerator by each of its interfaces."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from elastic_inference.client import Accelerator
from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.session import InferenceSession
from elastic_inference.protocol.tensors import STANDARD
from tests.conformance import triton, values

Runner = Callable[[Sequence[Any]], list[Any]]

_OPTIMIZATION = real.state.GraphOptimizationLevel
_LEVELS = {
    "disable": _OPTIMIZATION.ORT_DISABLE_ALL,
    "basic": _OPTIMIZATION.ORT_ENABLE_BASIC,
    "extended": _OPTIMIZATION.ORT_ENABLE_EXTENDED,
    "all": _OPTIMIZATION.ORT_ENABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class Remote:
    """A backend on an accelerator, and what precedes the names of its ways in the report."""

    label: str
    backend: type[CpuBackend]


class Prepared(BackendRep):
    """A loaded model.

    Attributes:
        ways: how it can be run, by name; the first is ONNX's own `run`.
        close: gives the model up.
    """

    def __init__(self, ways: Mapping[str, Runner], close: Callable[[], None]) -> None:
        self.ways = ways
        self.close = close

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        return tuple(next(iter(self.ways.values()))(inputs))


class CpuBackend(Backend):
    """What all of them share.

    Attributes:
        first_way: the name of the first of its ways.
    """

    first_way = "session"

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.startswith("CPU")

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        if not cls.supports_device(device):
            raise ValueError(f"There is no device {device!r} here.")
        return cls.load(model.SerializeToString(), **kwargs)

    @classmethod
    def load(cls, model: bytes, **options: Any) -> Prepared:
        """`model` ready to run; `options` are those of a load on an accelerator."""
        raise AssertionError(f"{cls.__name__} loads no {len(model)} bytes with {options}")


class LocalBackend(CpuBackend):
    """ONNX Runtime in this process, by whatever its Python interface offers."""

    @classmethod
    def load(cls, model: bytes, **options: Any) -> Prepared:
        session = real.InferenceSession(model, _settings(options), ["CPUExecutionProvider"])
        return Prepared(_SessionWays(session, converts=True).all(), lambda: None)


def client_backend(
    accelerator: Accelerator,
    *,
    json: bool = False,
    others: Mapping[str, triton.Infer] = MappingProxyType({}),
) -> type[CpuBackend]:
    """The accelerator by the client's own interface.

    Args:
        json: run also with tensors as JSON.
        others: run also by these clients.
    """

    class ClientBackend(CpuBackend):
        first_way = "client"

        @classmethod
        def load(cls, model: bytes, **options: Any) -> Prepared:
            loaded = accelerator.load(model, options)

            def run(inputs: Sequence[Any]) -> list[Any]:
                feeds = {
                    spec.name: values.to_client(value, spec)
                    for spec, value in zip(loaded.inputs, inputs, strict=False)
                }
                return [
                    values.from_client(value, spec)
                    for spec, value in zip(loaded.outputs, loaded.run(feeds), strict=True)
                ]

            def run_as_json(inputs: Sequence[Any]) -> list[Any]:
                entries = [
                    values.to_json(value, spec)
                    for spec, value in zip(loaded.inputs, inputs, strict=False)
                ]
                answer = accelerator._link.request(
                    "POST", f"/v2/models/{loaded.handle}/infer", {"inputs": entries}
                )
                return [values.from_json(entry) for entry in answer["outputs"]]

            def run_by(infer: triton.Infer, inputs: Sequence[Any]) -> list[Any]:
                given = list(zip(loaded.inputs, inputs, strict=False))
                return infer(loaded.handle, given, loaded.outputs)

            ways: dict[str, Runner] = {"client": run}
            specs = (*loaded.inputs, *loaded.outputs)
            if all(spec.datatype in STANDARD for spec in specs):
                ways |= {"JSON": run_as_json} if json else {}
                ways |= {way: partial(run_by, infer) for way, infer in others.items()}
            return Prepared(ways, loaded.close)

    return ClientBackend


def session_backend(accelerator: Accelerator) -> type[CpuBackend]:
    """The accelerator by the drop-in for `onnxruntime.InferenceSession`."""

    class SessionBackend(CpuBackend):
        @classmethod
        def load(cls, model: bytes, **options: Any) -> Prepared:
            with warnings.catch_warnings():
                # That a model which nobody runs would run locally.
                warnings.simplefilter("ignore", RuntimeWarning)
                session = InferenceSession(
                    model,
                    _settings(options),
                    ["CPUExecutionProvider"],
                    accelerator=accelerator,
                )
            runner = session._runner
            if runner is None:
                raise AssertionError("the session did not go to the accelerator")
            return Prepared(_SessionWays(session, converts=False).all(), runner.close)

    return SessionBackend


class _SessionWays:
    """How a session of either kind is run.

    Attributes:
        converts: `run` takes and gives OrtValues where numpy lacks a type, since ONNX Runtime's
            own takes no array for it.
    """

    def __init__(self, session: Any, *, converts: bool) -> None:
        self.session = session
        self.converts = converts
        self.types = {arg.name: arg.type for arg in session.get_inputs()}
        self.lacking = any(values.is_foreign(arg.type) for arg in session.get_outputs())

    def all(self) -> dict[str, Runner]:
        return {"session": self.run, "OrtValues": self.run_values, "IOBinding": self.run_bound}

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        if self.converts and self.lacking:
            return self.run_values(inputs)
        given = self._feeds(inputs)
        for name, kind in self.types.items():
            if self.converts and values.is_foreign(kind) and name in given:
                given[name] = values.to_ort_value(given[name], kind)
        return list(self.session.run(None, given))

    def run_values(self, inputs: Sequence[Any]) -> list[Any]:
        given = {
            name: values.to_ort_value(value, self.types[name])
            for name, value in self._feeds(inputs).items()
        }
        made = self.session.run_with_ort_values(None, given)
        return [values.from_ort_value(value) for value in made]

    def run_bound(self, inputs: Sequence[Any]) -> list[Any]:
        binding = self.session.io_binding()
        for name, value in self._feeds(inputs).items():
            if values.is_foreign(self.types[name]):
                binding.bind_ortvalue_input(name, values.to_ort_value(value, self.types[name]))
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(value).reshape(value.shape))
        for arg in self.session.get_outputs():
            binding.bind_output(arg.name)
        self.session.run_with_iobinding(binding)
        if self.lacking:
            return [values.from_ort_value(value) for value in binding.get_outputs()]
        return list(binding.copy_outputs_to_cpu())

    def _feeds(self, inputs: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.types, inputs, strict=False))


def _settings(options: Mapping[str, Any]) -> Any:
    """Options of a load on an accelerator as ONNX Runtime's."""
    made = real.SessionOptions()
    made.log_severity_level = 4
    made.intra_op_num_threads = options.get("threads", 0)
    made.inter_op_num_threads = 1
    made.graph_optimization_level = _LEVELS[options.get("graph_optimization_level", "all")]
    for key, value in options.get("config", {}).items():
        made.add_session_config_entry(key, value)
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return made
