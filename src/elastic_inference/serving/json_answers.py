"""Answers in JSON, in TensorFlow Serving's form down to the line breaks.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/util/json_tensor.cc
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.json_refusals import NAMES
from elastic_inference.serving.service import Classified, Regressed

_INDENT = "    "
_SHORT = 6
# By the size of the elements: digits that are always enough.
_DIGITS = {2: 6, 4: 9, 8: 17}
_Join: TypeAlias = Callable[[Sequence[str]], str]
# Outputs of strings with such names are bytes.
_BYTES = "_bytes"


def write_rows(outputs: Mapping[str, Array], signature: Signature) -> bytes:
    """Predictions row by row, of outputs that have as many rows.

    Raises:
        InvalidRequestError: they have not, or one has no form in JSON.
    """
    _check_some(outputs)
    count: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise InvalidRequestError(f"Tensor name: {name} has no shape information ")
        if count is not None and len(array) != count:
            raise InvalidRequestError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)
    level = 1 if len(outputs) == 1 else 2
    columns = {
        name: _nested(array, name, signature.outputs[name].dtype, first=1, level=level)
        for name, array in outputs.items()
    }
    if len(columns) == 1:
        (rows,) = columns.values()
        return _object({"predictions": _on_line(rows, 1)})
    rows = [
        _pretty_object(dict(zip(columns, values, strict=True)), 2)
        for values in zip(*columns.values(), strict=True)
    ]
    return _object({"predictions": _on_lines(rows, 1)})


def write_columns(outputs: Mapping[str, Array], signature: Signature) -> bytes:
    """Outputs as they are; errors as `write_rows`."""
    _check_some(outputs)
    level = 1 if len(outputs) == 1 else 2
    texts = {
        name: _nested(
            array, name, signature.outputs[name].dtype, first=0, level=level, on_line=False
        )[0]
        for name, array in outputs.items()
    }
    if len(texts) == 1:
        (text,) = texts.values()
        return _object({"outputs": text})
    return _object({"outputs": _pretty_object(texts, 1)})


def write_classified(answer: Classified) -> bytes:
    """The classes of each example.

    Raises:
        InvalidRequestError: there are none.
    """
    if not answer.rows:
        raise InvalidRequestError("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for row in answer.rows:
        scores = _decimals(np.array([score for _, score in row], np.float32))
        pairs = zip((label for label, _ in row), scores, strict=True)
        rows.append(f"[{', '.join(f'[{_string(label)}, {score}]' for label, score in pairs)}]")
    return _object({"results": _on_line(rows, 1)})


def write_regressed(answer: Regressed) -> bytes:
    """The value of each example; errors as `write_classified`."""
    if not answer.values:
        raise InvalidRequestError("Cannot convert empty RegressionResults to JSON")
    values = _decimals(np.array(answer.values, np.float32))
    return _object({"results": f"[{', '.join(values)}]"})


def write_error(words: str) -> bytes:
    """What went wrong."""
    return _object({"error": _string(words)})


def _check_some(outputs: Mapping[str, Array]) -> None:
    if not outputs:
        raise InvalidRequestError("Cannot convert empty tensor map to JSON")


def _object(members: Mapping[str, str]) -> bytes:
    return _pretty_object(members, 0).encode()


def _pretty_object(members: Mapping[str, str], level: int) -> str:
    """An object whose members are texts already, each on a line of its own."""
    inner = "\n" + _INDENT * (level + 1)
    lines = (f"{inner}{_string(key)}: {text}" for key, text in members.items())
    return f"{{{','.join(lines)}\n{_INDENT * level}}}"


def _on_line(items: Sequence[str], level: int) -> str:
    """A list on one line but for its end."""
    return f"[{', '.join(items)}\n{_INDENT * level}]" if items else "[]"


def _on_lines(items: Sequence[str], level: int) -> str:
    if not items:
        return "[]"
    inner = "\n" + _INDENT * (level + 1)
    return f"[{inner}{(',' + inner).join(items)}\n{_INDENT * level}]"


def _nested(
    array: Array, name: str, dtype: str, *, first: int, level: int, on_line: bool = True
) -> list[str]:
    """The texts of an array's parts.

    Args:
        first: the parts are what is below this many of its dimensions.
        level: how deep the array is in the document.
        on_line: the lists are on one line each, not their elements.
    """
    texts = _texts(array, name, dtype, level + array.ndim)
    for axis in range(array.ndim - 1, first - 1, -1):
        size = array.shape[axis]
        join: _Join = _plain_list if on_line else partial(_on_lines, level=level + axis)
        if size:
            texts = [join(texts[at : at + size]) for at in range(0, len(texts), size)]
        else:
            texts = ["[]"] * math.prod(array.shape[:axis])
    return texts


def _plain_list(items: Sequence[str]) -> str:
    return f"[{', '.join(items)}]"


def _texts(array: Array, name: str, dtype: str, level: int) -> list[str]:
    """The text of every element."""
    if dtype == "string":
        write = partial(_base64, level=level) if name.endswith(_BYTES) else _string
        return [write(item) for item in array.ravel().tolist()]
    if dtype == "bool":
        return ["true" if item else "false" for item in array.ravel().tolist()]
    if dtype == "bfloat16":
        bits = array.view(np.uint16).astype(np.uint32) << 16
        return _decimals(bits.view(np.float32))
    if array.dtype.kind == "f":
        return _decimals(array)
    if array.dtype.kind in "iu":
        return list(map(str, array.ravel().tolist()))
    raise InvalidRequestError(
        f"Failed to write JSON value for tensor type: {NAMES.get(dtype, dtype)}"
    )


def _decimals(array: Array) -> list[str]:
    """Numbers in six digits where these say it all, else in as many as may be needed."""
    # What is not a number may be an invalid value to any operation.
    with np.errstate(all="ignore"):
        values = array.ravel()
        is_short = _are_short(values)
        whole = np.flatnonzero(values == np.trunc(values)).tolist()
    written = np.empty(len(values), np.object_)
    for chosen, digits in ((is_short, _SHORT), (~is_short, _DIGITS[values.dtype.itemsize])):
        written[chosen] = _formatted(values[chosen], digits)
    texts: list[str] = written.tolist()
    # A list of decimals has no integers in it, by which a reader could take it for another type.
    for place in whole:
        if "." not in texts[place] and "e" not in texts[place]:
            texts[place] += ".0"
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[place] = _special(float(values[place]))
    return texts


def _are_short(values: Array) -> Array:
    """Which numbers are the nearest ones to what six digits say."""
    if values.dtype.itemsize == 8:
        again: Array = np.array(list(map(float, _formatted(values, _SHORT))), np.float64)
        return np.asarray(again == values)
    # Narrower ones are found out in doubles, whose own errors are far too small to matter.
    wide = values.astype(np.float64)
    size = np.floor(np.log10(np.abs(wide)))
    unit = 10.0 ** (np.nan_to_num(size, posinf=0, neginf=0) - _SHORT + 1)
    again = (np.rint(wide / unit) * unit).astype(values.dtype)
    return np.asarray(again == values)


def _formatted(values: Array, digits: int) -> list[str]:
    """All at once: much faster than one after the other."""
    if not len(values):
        return []
    return (",".join([f"%.{digits}g"] * len(values)) % tuple(values.tolist())).split(",")


def _special(value: float) -> str:
    if value != value:  # noqa: PLR0124 - what is not a number is not itself
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _string(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return json.dumps(text, ensure_ascii=False)


def _base64(data: str | bytes, level: int) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return _pretty_object({"b64": f'"{base64.b64encode(raw).decode()}"'}, level)
