"""One version of a model: TensorFlow Serving's semantics around its signatures."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elastic_inference.errors import (
    ConflictError,
    DeadlineExceededError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
)
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.batching import Queue, Run
from elastic_inference.serving.service import CLASSIFY, PREDICT, REGRESS

# The keys of signatures that take examples.
INPUTS, OUTPUTS, CLASSES, SCORES = "inputs", "outputs", "classes", "scores"
# What TensorFlow calls the types in its errors.
_SPOKEN = {
    "float32": "float",
    "float64": "double",
    "float16": "half",
    "object": "string",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A signature that is ready to run.

    Attributes:
        run: runs it on inputs that were checked.
        queue: puts its requests together, or None.
        defaults: values of inputs that requests leave out.
        close: gives up what `run` runs.
    """

    signature: Signature
    run: Run
    close: Callable[[], None]
    queue: Queue | None = None
    defaults: Mapping[str, Array] = field(default_factory=dict)

    def release(self) -> None:
        """Refuse what waits, and give the signature up."""
        if self.queue is not None:
            self.queue.close()
        self.close()


class SavedModel:
    """A loaded version. Its methods may be called from many threads."""

    def __init__(
        self,
        version: int,
        signatures: Mapping[str, Signature],
        entries: Mapping[str, Entry],
        errors: Mapping[str, ElasticInferenceError],
        *,
        checks_methods: bool = False,
    ) -> None:
        """
        Args:
            signatures: all that the model has.
            entries: those that are loaded.
            errors: why others are not.
            checks_methods: whether a signature's method must be the one that is asked for.
        """
        self.version = version
        self.signatures = signatures
        self._entries = entries
        self._errors = errors
        self._checks_methods = checks_methods
        self._carriers = {
            key: {name: carrier_of(tensor.dtype) for name, tensor in entry.signature.inputs.items()}
            for key, entry in entries.items()
        }

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None,
    ) -> dict[str, Array]:
        """The signature's `outputs` for `inputs`; all if none are named.

        Raises:
            ConflictError: there is no such signature.
            InvalidRequestError: inputs or outputs do not fit it.
            DeadlineExceededError: it is too late.
            ElasticInferenceError: the signature could not be loaded, or fails.
        """
        entry = self._entries.get(signature)
        if entry is None:
            known = self._known(signature)
            if known is None:
                raise ConflictError(
                    f'Serving signature key "{signature}" not found.',
                    next_step=f"The model has: {', '.join(sorted(self._entries))}.",
                )
            raise known
        if self._checks_methods and entry.signature.method not in (PREDICT, CLASSIFY, REGRESS):
            raise InternalError(
                "Expected prediction signature method_name to be one of "
                f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {entry.signature.method}"
            )
        inputs = self._complete(signature, entry, inputs)
        return _run(entry, inputs, _chosen(entry.signature, outputs), deadline)

    def classify(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[list[tuple[str, float]]]:
        """Labels and scores for each example; errors as `predict`."""
        entry = self._takes_examples(signature, CLASSIFY, "classification")
        outputs = entry.signature.outputs
        if len(outputs) not in (1, 2):
            raise InvalidRequestError(f"Expected one or two output Tensors, found {len(outputs)}")
        if not {CLASSES, SCORES} & set(outputs):
            raise InvalidRequestError(
                "Expected classification signature outputs to contain at least one of "
                f'"{CLASSES}" or "{SCORES}". They are: {", ".join(outputs)}.'
            )
        names = [name for name in (CLASSES, SCORES) if name in outputs]
        results = _run(entry, {INPUTS: _tensor(examples)}, names, deadline)
        return _classes(results.get(CLASSES), results.get(SCORES), len(examples))

    def regress(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[float]:
        """A value for each example; errors as `predict`."""
        entry = self._takes_examples(signature, REGRESS, "regression")
        if len(entry.signature.outputs) != 1:
            raise InvalidRequestError("Expected one output Tensor.")
        if OUTPUTS not in entry.signature.outputs:
            raise InvalidRequestError("No regression outputs found in SignatureDef.")
        results = _run(entry, {INPUTS: _tensor(examples)}, [OUTPUTS], deadline)
        return _values(results[OUTPUTS], len(examples))

    def close(self) -> None:
        """Give up all signatures."""
        for entry in self._entries.values():
            entry.release()

    def _known(self, signature: str) -> ElasticInferenceError | None:
        """The error of a signature that could not be loaded; one for each that raises it."""
        error = self._errors.get(signature)
        return None if error is None else copy.copy(error)

    def _takes_examples(self, signature: str, method: str, what: str) -> Entry:
        entry = self._entries.get(signature)
        if entry is None:
            raise self._known(signature) or InvalidRequestError(
                f"No signature was found with the name: {signature}",
                next_step=f"The model has: {', '.join(sorted(self._entries))}.",
            )
        if self._checks_methods and entry.signature.method != method:
            raise InvalidRequestError(
                f"Expected {what} signature method_name to be {method}. "
                f"Was: {entry.signature.method}"
            )
        if len(entry.signature.inputs) != 1:
            raise InvalidRequestError("Expected one input Tensor.")
        if INPUTS not in entry.signature.inputs:
            raise InvalidRequestError(f"No {what} inputs found in SignatureDef.")
        if entry.signature.inputs[INPUTS].dtype != "string":
            raise InvalidRequestError(
                f"Expects arg[0] to be {_spoken(self._carriers[signature][INPUTS])} but string is "
                "provided",
                next_step="Ask this signature with Predict.",
            )
        return entry

    def _complete(self, key: str, entry: Entry, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """All inputs: those that were sent, which must fit, and defaults of others."""
        carriers = self._carriers[key]
        if len(inputs) < len(carriers) and entry.defaults:
            inputs = {**entry.defaults, **inputs}
        if len(inputs) != len(carriers):
            raise _sizes_differ(set(inputs), set(carriers))
        for position, (name, array) in enumerate(inputs.items()):
            carrier = carriers.get(name)
            if carrier is None:
                raise InvalidRequestError(
                    f"input tensor alias not found in signature: {name}. Inputs expected to be "
                    f"in the set {{{','.join(sorted(carriers))}}}."
                )
            if array.dtype != carrier:
                raise InvalidRequestError(
                    f"Expects arg[{position}] to be {_spoken(carrier)} but "
                    f"{_spoken(array.dtype)} is provided (input {name!r})"
                )
        return inputs


def _run(
    entry: Entry, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float | None
) -> dict[str, Array]:
    if deadline is not None and deadline <= time.monotonic():
        raise DeadlineExceededError("The deadline passed before the model ran.")
    if entry.queue is not None:
        return entry.queue.predict(inputs, outputs, deadline)
    return entry.run(inputs, outputs)


def _spoken(dtype: np.dtype[Any]) -> str:
    return _SPOKEN.get(dtype.name, dtype.name)


def _sizes_differ(given: set[str], wanted: set[str]) -> InvalidRequestError:
    def joined(names: set[str]) -> str:
        return ",".join(sorted(names))

    return InvalidRequestError(
        f"input size does not match signature: {len(given)}!={len(wanted)} "
        f"len({{{joined(given)}}}) != len({{{joined(wanted)}}}). "
        f"Sent extra: {{{joined(given - wanted)}}}. "
        f"Missing but required: {{{joined(wanted - given)}}}."
    )


def _chosen(signature: Signature, outputs: Sequence[str]) -> Sequence[str]:
    if not outputs:
        return tuple(signature.outputs)
    seen = set()
    for name in outputs:
        if name not in signature.outputs:
            raise InvalidRequestError(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {{{','.join(sorted(signature.outputs))}}}."
            )
        if name in seen:
            raise InvalidRequestError(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return tuple(outputs)


def _tensor(examples: Sequence[bytes]) -> Array:
    if not examples:
        raise InvalidRequestError("Input is empty.")
    tensor = np.empty(len(examples), object)
    tensor[:] = examples
    return tensor


def _classes(
    classes: Array | None, scores: Array | None, count: int
) -> list[list[tuple[str, float]]]:
    for name, array, dtype in (
        (CLASSES, classes, np.dtype(object)),
        (SCORES, scores, np.dtype(np.float32)),
    ):
        if array is not None:
            _check_rows(name, array, dtype, count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise InvalidRequestError(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    columns = next(array.shape[1] for array in (classes, scores) if array is not None)
    labels = [[""] * columns] * count if classes is None else _texts(classes)
    values = [[0.0] * columns] * count if scores is None else scores.tolist()
    return [list(zip(*row, strict=True)) for row in zip(labels, values, strict=True)]


def _check_rows(name: str, array: Array, dtype: np.dtype[Any], count: int) -> None:
    if array.ndim != 2:
        raise InvalidRequestError(
            "Expected Tensor shape: [batch_size num_classes] but got "
            f"[{','.join(map(str, array.shape))}]"
        )
    if array.dtype != dtype:
        wanted = {"object": "DT_STRING", "float32": "DT_FLOAT"}[dtype.name]
        raise InvalidRequestError(
            f"Expected {name} Tensor of {wanted}. Got: DT_{_spoken(array.dtype).upper()}"
        )
    if array.shape[0] != count:
        raise InvalidRequestError(
            f"Expected {name} output batch size of {count}. Got: {array.shape[0]}"
        )


def _texts(classes: Array) -> list[list[str]]:
    """Labels as text; bytes that are none keep their place."""
    return [
        [
            label if isinstance(label, str) else bytes(label).decode("utf-8", "replace")
            for label in row
        ]
        for row in classes
    ]


def _values(output: Array, count: int) -> list[float]:
    if output.ndim != 1 and not (output.ndim == 2 and output.shape[1] == 1):
        raise InvalidRequestError(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"[{','.join(map(str, output.shape))}]"
        )
    if output.shape[0] != count:
        raise InvalidRequestError(
            f"Input batch size did not match output batch size: {count} vs. {output.shape[0]}"
        )
    if output.dtype != np.float32:
        raise InvalidRequestError(
            f"Expected output Tensor of DT_FLOAT.  Got: DT_{_spoken(output.dtype).upper()}"
        )
    values: list[float] = output.reshape(-1).tolist()
    return values
