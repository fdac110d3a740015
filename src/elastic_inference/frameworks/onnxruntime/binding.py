"""IOBinding for sessions whose model runs on an accelerator."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.failures import (
    execution_error,
    invalid_argument,
    python_error,
)
from elastic_inference.frameworks.onnxruntime.values import (
    DATATYPES,
    ELEMENT_TYPES,
    from_ort_value,
    to_ort_value,
    view_memory,
)
from elastic_inference.protocol.tensors import CARRIER, Array


class IOBinding(real.IOBinding):  # type: ignore[misc]  # the real class is untyped
    """Bound inputs and outputs, in this machine's memory.

    An input bound by address is read anew by each run; an output bound to memory is copied
    into it. For a session on the local engine this makes the real class's object.
    """

    def __new__(cls, session: Any) -> Any:
        if getattr(session, "_runner", None) is None:
            return real.IOBinding(session)
        return object.__new__(cls)

    def __init__(self, session: Any) -> None:
        self._owner = session
        self._session = session
        self._feeds: dict[str, Any] = {}
        self._targets: dict[str, Any] = {}
        self._results: dict[str, Any] = {}
        self._specs = {spec.name: spec for spec in session._runner.outputs}  # noqa: SLF001

    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        self._feeds[name] = arr_on_cpu

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Any,
        buffer_ptr: int,
    ) -> None:
        _check_device(device_type, device_id)
        self._feeds[name] = _array_at(buffer_ptr, element_type, shape)

    def bind_ortvalue_input(self, name: str, ortvalue: Any) -> None:
        self._feeds[name] = ortvalue

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Any = None,
        buffer_ptr: int | None = None,
    ) -> None:
        self._check_output(name)
        if buffer_ptr is None:
            self._targets[name] = None
            return
        _check_device(device_type, device_id)
        if element_type is None or shape is None:
            raise python_error(
                ValueError,
                "`element_type` and `shape` are to be provided if pre-allocated memory is provided",
            )
        self._targets[name] = _array_at(buffer_ptr, element_type, shape)

    def bind_ortvalue_output(self, name: str, ortvalue: Any) -> None:
        self._check_output(name)
        self._targets[name] = ortvalue

    def _check_output(self, name: str) -> None:
        if name not in self._specs:
            raise invalid_argument(f"Invalid output name:{name}")

    def synchronize_inputs(self) -> None:
        """Everything is in this machine's memory: there is nothing to wait for."""

    def synchronize_outputs(self) -> None:
        """A run has ended when it returns: there is nothing to wait for."""

    def run(self, run_options: Any = None) -> None:
        """Run the session on what is bound."""
        names = list(self._targets)
        try:
            values = self._owner.run(names, self._feeds, run_options)
        except ElasticInferenceError as error:
            raise execution_error(error) from error
        self._results = dict(zip(names or self._specs, values, strict=True))
        for name, target in self._targets.items():
            self._store(name, target)

    def _store(self, name: str, target: Any) -> None:
        if target is None:
            return
        value = self._results[name]
        memory = from_ort_value(target) if isinstance(target, real.OrtValue) else target
        if memory.shape != value.shape or memory.dtype.itemsize != value.dtype.itemsize:
            raise invalid_argument(
                f"Output {name} is {value.dtype}{list(value.shape)}, but what is bound is "
                f"{memory.dtype}{list(memory.shape)}."
            )
        if isinstance(target, real.OrtValue) and value.dtype == memory.dtype:
            target.update_inplace(value)
        else:
            np.copyto(memory, value.view(memory.dtype))
        self._results[name] = target if isinstance(target, real.OrtValue) else memory

    def get_outputs(self) -> list[Any]:
        """The outputs of the last run as OrtValues."""
        return [
            value if isinstance(value, real.OrtValue) else to_ort_value(value, self._specs[name])
            for name, value in self._results.items()
        ]

    def get_outputs_as_ortvaluevector(self) -> Any:
        vector = real.state.OrtValueVector()
        for value in self.get_outputs():
            vector.push_back(value._get_c_value())  # noqa: SLF001 - as ORT's own code does
        return vector

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The outputs of the last run as numpy arrays."""
        return [
            from_ort_value(value) if isinstance(value, real.OrtValue) else value
            for value in self._results.values()
        ]

    def clear_binding_inputs(self) -> None:
        self._feeds.clear()

    def clear_binding_outputs(self) -> None:
        self._targets.clear()
        self._results.clear()


def _check_device(device_type: str, device_id: int) -> None:
    if device_type.lower() != "cpu":
        raise python_error(
            RuntimeError,
            f"Memory of {device_type}:{device_id} cannot be bound: the accelerator is remote. "
            "Bind memory of the CPU.",
        )


def _array_at(address: int, element_type: Any, shape: Any) -> Array:
    if isinstance(element_type, int):
        texts = {number: text for text, number in ELEMENT_TYPES.values()}
        dtype = CARRIER[DATATYPES[texts[element_type]]]
    else:
        dtype = np.dtype(element_type)
    if dtype.hasobject:
        raise python_error(
            RuntimeError, "Only binding of numeric tensors to memory is supported, not strings."
        )
    sizes = tuple(int(size) for size in shape)
    count = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
    return view_memory(address, count).view(dtype).reshape(sizes)
