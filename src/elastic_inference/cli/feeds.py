"""Inputs for a model that nobody gave inputs for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import CARRIER, Array, TensorSpec, Value

_SHAPE = re.compile(r"(scalar|\d+(?:[,x]\d+)*)")
_MAX_ELEMENTS = 1 << 30


def make_feeds(inputs: Sequence[TensorSpec], given: Sequence[str]) -> dict[str, Value]:
    """A value for each of `inputs`.

    Args:
        given: `NAME=SHAPE` (as `1,3,224,224`, or `scalar`) or `NAME=FILE.npy`. Of the others,
            dimensions without a size are 1.

    Returns:
        Numbers are random, always the same; integers, which are often indices, are 0.

    Raises:
        InvalidRequestError: what is `given` does not fit, or there is no telling a value.
    """
    wanted = _parse(given, {spec.name for spec in inputs})
    return {spec.name: _feed(spec, wanted.get(spec.name)) for spec in inputs}


def _parse(given: Sequence[str], names: set[str]) -> Mapping[str, str]:
    wanted = {}
    for each in given:
        # A name may have an equals sign in it, a shape and most files have none.
        name, equals, value = each.rpartition("=")
        if not equals or not value:
            raise InvalidRequestError(
                f"--input {each!r} is not NAME=SHAPE or NAME=FILE.npy.",
                next_step="As in --input image=1,3,224,224.",
            )
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise InvalidRequestError(f"The model has no input {name!r}; it has: {known}.")
        wanted[name] = value
    return wanted


def _feed(spec: TensorSpec, wanted: str | None) -> Value:
    if spec.datatype not in CARRIER:
        raise InvalidRequestError(
            f"Input {spec.name!r} is a {spec.datatype}, which has no form on the command line.",
            next_step="Use Model.profile in Python.",
        )
    if wanted is not None and not _SHAPE.fullmatch(wanted):
        return _from_file(spec, Path(wanted))
    if wanted is not None:
        shape = () if wanted == "scalar" else tuple(map(int, re.split("[,x]", wanted)))
    else:
        shape = tuple(size if size >= 0 else 1 for size in spec.shape or ())
    if np.prod(shape, dtype=np.float64) > _MAX_ELEMENTS:
        raise InvalidRequestError(f"Input {spec.name!r} of {list(shape)} is too large.")
    return _random(CARRIER[spec.datatype], shape, spec.datatype)


def _from_file(spec: TensorSpec, path: Path) -> Array:
    if not path.is_file():
        raise InvalidRequestError(
            f"Input {spec.name!r}: {str(path)!r} is neither a shape nor a file.",
            next_step="As in --input image=1,3,224,224 or --input image=image.npy.",
        )
    try:
        array: Any = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidRequestError(
            f"Input {spec.name!r}: {path} is not a .npy file: {error}.",
            next_step="As in --input image=1,3,224,224 or --input image=image.npy.",
        ) from error
    if not isinstance(array, np.ndarray):
        raise InvalidRequestError(
            f"Input {spec.name!r}: {path} holds several arrays.", next_step="Give a .npy file."
        )
    if array.dtype.kind in "SU":
        return array.astype(object)
    return array


def _random(dtype: np.dtype[Any], shape: tuple[int, ...], datatype: str) -> Array:
    if dtype.hasobject:
        return np.full(shape, b"", object)
    if dtype.kind == "f":
        return np.random.default_rng(0).standard_normal(shape, np.float32).astype(dtype)
    if dtype.kind == "u" and datatype == "UINT8":
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.zeros(shape, dtype)
