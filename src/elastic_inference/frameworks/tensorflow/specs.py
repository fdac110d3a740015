"""What functions take: TypeSpecs of their arguments."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.failures import refused
from elastic_inference.frameworks.tensorflow.local import import_tensorflow


def declared(tf: Any, target: Any, input_signature: Any) -> Any:
    """The structure (args, kwargs) of what `target` takes, where it says so, else None."""
    if input_signature is not None:
        return (tuple(input_signature), {})
    structured = getattr(target, "structured_input_signature", None)
    if structured is not None:
        return structured
    signature = getattr(target, "input_signature", None)
    if signature is not None and isinstance(target, tf.types.experimental.PolymorphicFunction):
        return (tuple(signature), {})
    inputs = getattr(target, "inputs", None)
    if inputs is not None and isinstance(target, tf.keras.Model):
        structure = getattr(target, "input", None)
        structure = structure if structure is not None else inputs
        if isinstance(structure, list | tuple) and len(structure) == 1:
            structure = structure[0]
        return ((tf.nest.map_structure(_keras_spec, structure),), {})
    return None


def _keras_spec(tensor: Any) -> Any:
    return import_tensorflow().TensorSpec(tensor.shape, tensor.dtype)


def bound(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by name as the first `count` positional ones. What more there is must say nothing,
    as a Keras model's training=False.
    """
    plain_function = getattr(target, "python_function", getattr(target, "call", target))
    kind = getattr(target, "function_type", None) or inspect.signature(plain_function)
    given = kind.bind(*args, **kwargs)
    more = (*given.args[count:], *given.kwargs.values())
    if any(value is not None and value is not False for value in more):
        raise refused(
            f"Only the first {count} arguments are in the signature of what is accelerated.",
            TypeError,
        )
    return given.args[:count], {}


def is_tensor(tf: Any, value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | tf.Tensor)


def as_value(value: Any) -> Any:
    """A variable as its value; the rest as it is."""
    tf = import_tensorflow()
    return value.read_value() if isinstance(value, tf.Variable) else value


def kind_of(value: Any) -> Any:
    """What arguments that one trace serves have in common."""
    tf = import_tensorflow()
    if is_tensor(tf, value) or isinstance(value, tf.__internal__.CompositeTensor):
        dense = "" if is_tensor(tf, value) else type(value).__name__
        return dense, value.dtype.name, len(value.shape)
    return repr(value)


def spec_of(tf: Any, value: Any, *, is_batched: bool) -> Any:
    """The TypeSpec of a tensor or array; anything else is its own.

    Args:
        is_batched: whether the first size is the number of samples, which may be any.
    """
    if isinstance(value, np.ndarray | np.generic):
        spec = tf.TensorSpec(value.shape, tf.as_dtype(_tf_dtype(value)))
    elif isinstance(value, tf.Tensor | tf.__internal__.CompositeTensor):
        spec = tf.type_spec_from_value(value)
    else:
        return value
    if is_batched and isinstance(spec, tf.TensorSpec) and spec.shape.rank:
        spec = tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)
    return spec


def _tf_dtype(value: Any) -> Any:
    return "string" if value.dtype.kind in "OSU" else value.dtype


def widened(known: Any, new: Any) -> Any:
    """The least special TypeSpec that takes what either takes."""
    tf = import_tensorflow()
    return known.most_specific_common_supertype([new]) if isinstance(known, tf.TypeSpec) else known
