"""Values that a signature takes for inputs which a request leaves out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import BYTES, fields
from elastic_inference.serving.tensors import Reader

# Of a SignatureDef.
_DEFAULTS = 4


def defaults_of(signature: Signature) -> Mapping[str, Array]:
    """The default values by the inputs' keys.

    Raises:
        InvalidRequestError: one is no tensor.
    """
    data = signature.raw
    reader = Reader(memoryview(data))
    found: dict[str, Array] = {}
    for number, wire, span in fields(data, (0, len(data)), _refuse):
        if number != _DEFAULTS or wire != BYTES:
            continue
        key, value = "", (span[1], span[1])
        for inner, kind, body in fields(data, span, _refuse):
            if inner == 1 and kind == BYTES:
                key = data[body[0] : body[1]].decode("utf-8", "replace")
            elif inner == 2 and kind == BYTES:
                value = body
        # A copy is aligned, and keeps nothing else alive.
        found[key] = np.array(reader.tensor(value)[1])
    return found


def _refuse(why: str) -> ModelFormatError:
    return ModelFormatError(f"A signature's default values are damaged: {why}.")
