"""`accelerate`: functions, modules and Keras models in memory, called on the accelerator."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.client import Accelerator
from elastic_inference.errors import UnavailableError
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.tensorflow.failures import refused, translate
from elastic_inference.frameworks.tensorflow.feeds import fits, plain
from elastic_inference.frameworks.tensorflow.local import import_tensorflow
from elastic_inference.frameworks.tensorflow.remote import Remote
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.frameworks.tensorflow.specs import (
    as_value,
    bound,
    declared,
    is_tensor,
    kind_of,
    spec_of,
    widened,
)
from elastic_inference.frameworks.tensorflow.tracing import Traced, save

# Programs whose arguments differ in ever more ways would otherwise fill the accelerator.
_MOST_VARIANTS = 32
_LOCALLY = "the function runs in this process's own TensorFlow"


def accelerate(
    target: Callable[..., Any], input_signature: Any = None, *, accelerator_id: Any = None
) -> Accelerated:
    """What runs `target` on the accelerator: it takes and gives what `target` does.

    The first call with arguments of a new kind traces `target`, as a tf.function does, and
    prepares it, which takes seconds once per machine and user. Python numbers and strings belong
    to the kind, tensors and arrays do so by dtype and rank; sizes that turn out to vary are left
    open.

    Args:
        target: a tf.function, a ConcreteFunction, a tf.Module or Keras model that can be called,
            or a function of tensors. Its variables' values are taken when it is traced.
        input_signature: as tf.function takes it, for functions of positional arguments; then it
            is traced here and now, and values are cast to it.
        accelerator_id: its ordinal or id; the first if None.

    Raises:
        ElasticInferenceError: as an EIPredictor raises.
    """
    accelerated = Accelerated(target, input_signature, accelerator_id)
    accelerated.prepare()
    return accelerated


@dataclass(frozen=True, slots=True)
class _Variant:
    """`target` for arguments of one kind.

    Attributes:
        specs: their structure.
        shapes: of the flattened tensors.
    """

    specs: Any
    shapes: tuple[tuple[int | None, ...] | None, ...]
    traced: Traced
    remote: Remote

    def takes(self, values: list[Any]) -> bool:
        return all(
            fits(np.shape(value), shape) for value, shape in zip(values, self.shapes, strict=True)
        )

    def run(self, values: list[Any]) -> list[Any]:
        results = self.remote.run(dict(zip(self.traced.inputs, values, strict=True)))
        return [None if key is None else results[key] for key in self.traced.outputs]


class Accelerated:
    """A function on the accelerator. May be called from many threads.

    Attributes:
        target: what it runs.
    """

    def __init__(self, target: Any, input_signature: Any, accelerator_id: Any) -> None:
        if not callable(target):
            raise refused(f"A {type(target).__name__} cannot be called.", TypeError)
        self.target = target
        self._tf = import_tensorflow()
        self._specs = declared(self._tf, target, input_signature)
        # The first size of what a Keras model takes is the number of samples.
        self._is_batched = isinstance(target, self._tf.keras.Model)
        self._lock = threading.Lock()
        self._variants: dict[str, _Variant] = {}
        self._accelerator: Accelerator | None = None
        try:
            self._accelerator = attach.accelerator(accelerator_id, consequence=_LOCALLY)
        except UnavailableError as error:
            self._lose(error)

    def prepare(self) -> None:
        """Trace and load it now, if it is known what it takes."""
        if self._specs is not None and self._accelerator is not None:
            self._fixed(self._accelerator)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `target` gives for the same arguments, as tensors."""
        tf = self._tf
        flat, structure = self._flat(args, kwargs)
        if structure is _ITSELF:
            return flat
        tensors = [None if value is None else tf.convert_to_tensor(value) for value in flat]
        return tf.nest.pack_sequence_as(structure, tensors, expand_composites=True)

    def arrays(self, *args: Any, **kwargs: Any) -> Any:
        """The same, with numpy arrays for dense tensors."""
        tf = self._tf
        flat, structure = self._flat(args, kwargs)
        if structure is _ITSELF:
            return tf.nest.map_structure(plain, flat)
        if len(tf.nest.flatten(structure)) == len(flat):
            return tf.nest.pack_sequence_as(structure, flat)
        return tf.nest.pack_sequence_as(
            structure, [tf.convert_to_tensor(value) for value in flat], expand_composites=True
        )

    def _flat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """The flattened results and their structure; `target`'s own results and _ITSELF where it
        runs in this process.
        """
        accelerator = self._accelerator
        if accelerator is None:
            return self.target(*args, **kwargs), _ITSELF
        try:
            if self._specs is None:
                variant, values = self._variant(accelerator, args, kwargs)
            else:
                variant = self._fixed(accelerator)
                values = self._values(args, kwargs)
            return variant.run(values), variant.traced.structure
        except UnavailableError as error:
            self._lose(error)
            return self.target(*args, **kwargs), _ITSELF

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments' values in the order of the fixed specs."""
        tf = self._tf
        wanted_args, wanted_kwargs = self._specs
        if kwargs.keys() - wanted_kwargs.keys():
            args, kwargs = bound(self.target, args, kwargs, len(wanted_args))
        given = (tuple(args), kwargs)
        try:
            values = tf.__internal__.nest.flatten_up_to(self._specs, given, check_types=False)
        except (ValueError, TypeError) as error:
            raise refused(
                f"The arguments do not have the structure {self._specs}: {error}.", TypeError
            ) from error
        return [
            part
            for value, spec in zip(values, tf.nest.flatten(self._specs), strict=True)
            for part in (
                [value]
                if isinstance(spec, tf.TensorSpec)
                else tf.nest.flatten(value, expand_composites=True)
            )
        ]

    def _fixed(self, accelerator: Accelerator) -> _Variant:
        with self._lock:
            if "" not in self._variants:
                self._variants[""] = self._make(accelerator, self._specs)
            return self._variants[""]

    def _variant(
        self, accelerator: Accelerator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[_Variant, list[Any]]:
        tf = self._tf
        given = tf.nest.map_structure(as_value, (args, kwargs))
        values = [
            each for each in tf.nest.flatten(given, expand_composites=True) if is_tensor(tf, each)
        ]
        kind = repr(tf.nest.map_structure(kind_of, given))
        # What is replaced here may be running yet: it is given up with its last user.
        with self._lock:
            known = self._variants.get(kind)
            if known is None or not known.takes(values):
                specs = tf.nest.map_structure(
                    partial(spec_of, tf, is_batched=self._is_batched), given
                )
                if known is not None:
                    specs = tf.nest.map_structure(widened, known.specs, specs)
                elif len(self._variants) >= _MOST_VARIANTS:
                    self._variants.pop(next(iter(self._variants)))
                self._variants[kind] = self._make(accelerator, specs)
            return self._variants[kind], values

    def _make(self, accelerator: Accelerator, specs: Any) -> _Variant:
        with tempfile.TemporaryDirectory(prefix="elastic-inference-") as name:
            traced = save(self.target, specs, Path(name))
            remote = Remote(Source(Path(name)), accelerator)
        flat = self._tf.nest.flatten(specs, expand_composites=True)
        shapes = tuple(
            None if spec.shape.rank is None else tuple(spec.shape.as_list())
            for spec in flat
            if isinstance(spec, self._tf.TensorSpec)
        )
        return _Variant(specs, shapes, traced, remote)

    def _lose(self, error: UnavailableError) -> None:
        if not attach.goes_on_locally():
            raise translate(error) from error
        self._accelerator = None
        attach.warn_of_loss(error, "this function goes on in this process's own TensorFlow")

    def explain(self) -> str:
        """Which parts run where, and why, for each kind of arguments so far."""
        texts = [variant.remote.explain() for variant in list(self._variants.values())]
        return "\n\n".join(texts) or "Nothing of it was prepared for an accelerator so far."

    def close(self) -> None:
        """Give up what is loaded. A later call loads it again."""
        with self._lock:
            while self._variants:
                self._variants.popitem()[1].remote.close()


_ITSELF: Any = object()
