"""Functions in memory become SavedModels, whose inputs and outputs are flat."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.canonical import renumber
from elastic_inference.frameworks.tensorflow.failures import translate
from elastic_inference.frameworks.tensorflow.local import import_tensorflow

# Differs with every save, and nothing reads it.
_FINGERPRINT = "fingerprint.pb"


@dataclass(frozen=True, slots=True)
class Traced:
    """A function in a SavedModel's default signature.

    Attributes:
        inputs: the keys, in the order of the flattened arguments.
        outputs: the keys, in the order of the flattened results; None for what is no tensor.
        structure: of the results: TypeSpecs where tensors are.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    structure: Any


def save(function: Any, specs: Any, folder: Path) -> Traced:
    """Trace `function(*args, **kwargs)` for `specs`, and write it into `folder`.

    Args:
        function: a tf.function, a ConcreteFunction, a tf.Module or Keras model that can be
            called, or any function of tensors.
        specs: the structure (args, kwargs), with TypeSpecs where tensors are. Anything else in
            it is passed as it is.

    Raises:
        ElasticInferenceError: a ValueError too: what the function uses cannot be saved.
        Exception: what the function raises when it is traced.
    """
    tf = import_tensorflow()
    leaves = tf.nest.flatten(specs, expand_composites=True)
    tensors = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]
    names = tuple(f"input_{number}" for number in range(len(tensors)))
    found: list[Any] = []

    def flat(*values: Any) -> dict[str, Any]:
        given = iter(values)
        args, kwargs = tf.nest.pack_sequence_as(
            specs,
            [next(given) if isinstance(leaf, tf.TensorSpec) else leaf for leaf in leaves],
            expand_composites=True,
        )
        results = tf.nest.map_structure(_as_tensor, function(*args, **kwargs))
        structure = tf.nest.map_structure(_spec, results)
        flattened = tf.nest.flatten(results, expand_composites=True)
        keys = tuple(
            None if result is None else f"output_{number}"
            for number, result in enumerate(flattened)
        )
        found[:] = [keys, structure]
        return {
            key: tf.identity(result)
            for key, result in zip(keys, flattened, strict=True)
            if key is not None
        }

    concrete = tf.function(flat, autograph=False).get_concrete_function(
        *(
            tf.TensorSpec(spec.shape, spec.dtype, name)
            for spec, name in zip(tensors, names, strict=True)
        )
    )
    holder = tf.Module()
    holder.held = [*_variables(concrete), *_resources(tf, function)]
    try:
        tf.saved_model.save(holder, str(folder), signatures=concrete)
    except (AssertionError, ValueError) as error:
        raise translate(
            InvalidRequestError(
                f"The function cannot be saved: {str(error).strip().splitlines()[0]}",
                next_step="Make the tables and variables that it uses attributes of a tf.Module "
                "whose __call__ it is, and accelerate the module.",
            ),
            ValueError,
        ) from error
    (folder / _FINGERPRINT).unlink(missing_ok=True)
    renumber(folder)
    keys, structure = found
    return Traced(names, keys, structure)


def _variables(concrete: Any) -> list[Any]:
    """What the function uses, in an order that is the same in every process: so is the model
    then, whose plan is found by its bytes.
    """
    places = {id(each): place for place, each in enumerate(concrete.captured_inputs)}
    last = len(places)
    return sorted(
        concrete.variables, key=lambda each: (places.get(id(each.handle), last), each.name)
    )


def _as_tensor(value: Any) -> Any:
    tf = import_tensorflow()
    if value is None or isinstance(value, tf.Tensor | tf.__internal__.CompositeTensor):
        return value
    return tf.convert_to_tensor(value)


def _spec(value: Any) -> Any:
    return None if value is None else import_tensorflow().type_spec_from_value(value)


def _resources(tf: Any, function: Any) -> Iterator[Any]:
    """Tables and the like that `function` may use: TensorFlow's own record has variables only."""
    seen = set()
    for owner in _owners(tf, function):
        for each in tf.train.TrackableView(owner).descendants():
            if isinstance(each, tf.saved_model.experimental.TrackableResource):
                if id(each) not in seen:
                    yield each
                seen.add(id(each))


def _owners(tf: Any, function: Any) -> Sequence[Any]:
    trackable = tf.__internal__.tracking.Trackable
    found = [function] if isinstance(function, trackable) else []
    plain = getattr(function, "python_function", function)
    bound = getattr(plain, "__self__", None)
    if isinstance(bound, trackable):
        found.append(bound)
    if inspect.isfunction(plain) or inspect.ismethod(plain):
        seen = inspect.getclosurevars(plain)
        values = [*seen.nonlocals.values(), *seen.globals.values()]
        found.extend(value for value in values if isinstance(value, trackable))
    return found
