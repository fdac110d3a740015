"""What is fed, as TensorFlow's Predictor and its sessions take it."""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.execution import as_fed
from elastic_inference.frameworks.tensorflow.failures import refused, translate
from elastic_inference.frameworks.tensorflow.plan import Shape, Tensor
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array


class Feeds:
    """Makes the arrays that a model takes of what an application gives."""

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        """
        Args:
            inputs: the model's, by key.
        """
        self._inputs = inputs
        # An array of this dtype goes as it is; bfloat16 has more than one.
        self._exact = {
            key: None if tensor.dtype == "bfloat16" else carrier_of(tensor.dtype)
            for key, tensor in inputs.items()
        }

    def arrays(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """The arrays of `given`, by key; a None counts as not given.

        Raises:
            ElasticInferenceError: a ValueError or TypeError that is InvalidRequestError too: a
                key is not the model's, or a value cannot be what the key's tensor takes.
        """
        check_keys(given.keys(), self._inputs)
        arrays = {}
        for key, value in given.items():
            if value is None:
                continue
            tensor = self._inputs[key]
            exact = type(value) is np.ndarray and value.dtype == self._exact[key]
            array = value if exact else _cast(key, value, tensor)
            if not fits(array.shape, tensor.shape):
                raise refused(
                    f"Cannot feed value of shape {array.shape!r} for Tensor {tensor.name}, "
                    f"which has shape {in_words(tensor.shape)}.",
                    next_step="",
                )
            arrays[key] = array
        return arrays


def check_keys(given: KeysView[str], known: Mapping[str, Any]) -> None:
    """
    Raises:
        ElasticInferenceError: a ValueError too: a key is not `known`.
    """
    if not given <= known.keys():
        raise refused(
            f"Got unexpected keys in input_dict: {given - known.keys()}.",
            next_step=f"The model takes: {', '.join(known)}.",
        )


def plain(value: Any) -> Any:
    """`value`, or the array of an eager tensor."""
    numpy = getattr(value, "numpy", None)
    return numpy() if callable(numpy) else value


def _cast(key: str, value: Any, tensor: Tensor) -> Array:
    value = plain(value)
    try:
        array = as_fed(value, tensor)
    except InvalidRequestError as error:
        cause = error.__cause__
        kind = TypeError if isinstance(cause, TypeError) else ValueError
        raise translate(error, kind) from error
    if isinstance(value, int) and not isinstance(value, bool) and array.dtype.kind in "iu":
        _check_number(key, value, array, tensor)
    return array


def _check_number(key: str, value: int, array: Array, tensor: Tensor) -> None:
    if int(array) != value:
        raise refused(
            f"The value {value} for {key!r} is not compatible with the type {tensor.dtype} "
            f"of {tensor.name}.",
            TypeError,
        )


def fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    """Whether a tensor of the shape `wanted` can have the sizes `shape`."""
    if wanted is None:
        return True
    if len(shape) != len(wanted):
        return False
    return all(want is None or size == want for size, want in zip(shape, wanted, strict=True))


def in_words(shape: Shape) -> str:
    """As TensorFlow writes a shape."""
    if shape is None:
        return "<unknown>"
    sizes = ["None" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
