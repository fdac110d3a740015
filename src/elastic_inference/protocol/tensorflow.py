"""What clients and accelerators know of TensorFlow without TensorFlow.

Its element types with their numbers and carriers, how a graph is uploaded, and how its errors read.

Numbers: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/types.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import CARRIER

NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "float32": 1,
        "float64": 2,
        "int32": 3,
        "uint8": 4,
        "int16": 5,
        "int8": 6,
        "string": 7,
        "complex64": 8,
        "int64": 9,
        "bool": 10,
        "bfloat16": 14,
        "uint16": 17,
        "complex128": 18,
        "float16": 19,
        "resource": 20,
        "variant": 21,
        "uint32": 22,
        "uint64": 23,
    }
)
NAMES: Mapping[int, str] = MappingProxyType({number: name for name, number in NUMBERS.items()})
# What crosses to an accelerator, by its name in the Open Inference Protocol.
DATATYPES: Mapping[str, str] = MappingProxyType(
    {
        "float32": "FP32",
        "float64": "FP64",
        "float16": "FP16",
        "bfloat16": "BF16",
        "int8": "INT8",
        "int16": "INT16",
        "int32": "INT32",
        "int64": "INT64",
        "uint8": "UINT8",
        "uint16": "UINT16",
        "uint32": "UINT32",
        "uint64": "UINT64",
        "bool": "BOOL",
        "string": "BYTES",
        "complex64": "COMPLEX64",
        "complex128": "COMPLEX128",
    }
)
# The files of a graph that an accelerator runs in TensorFlow; see "Loading a model" in
# docs/protocol.md.
GRAPH, INTERFACE = "graph.pb", "interface.json"
_REFERENCE = 100
_HEADING = "Graph execution error"


def name_of(number: int) -> str:
    """The name of the type with that number; a reference is named as what it refers to.

    Raises:
        InvalidRequestError: there is none.
    """
    name = NAMES.get(number - _REFERENCE if number > _REFERENCE else number)
    if name is None:
        raise InvalidRequestError(f"TensorFlow's element type {number} is not known here.")
    return name


def carrier_of(name: str) -> np.dtype[Any]:
    """The numpy dtype that carries elements of that type; bfloat16 is carried as uint16.

    Raises:
        InvalidRequestError: its elements do not leave a graph.
    """
    datatype = DATATYPES.get(name)
    if datatype is None:
        raise InvalidRequestError(f"Tensors of type {name} cannot be passed.")
    return CARRIER[datatype]


def node_of(name: str) -> str:
    """The node of a tensor's name, or of an entry of a NodeDef's `input`."""
    return name.removeprefix("^").partition(":")[0]


def reason_of(error: Exception, longest: int = 1000) -> str:
    """What TensorFlow says is wrong, without where in whose code the graph was made."""
    text = str(getattr(error, "message", None) or error).strip()
    _, node, rest = text.rpartition("\nNode: ")
    lines = rest.split("\n")[1:] if node else text.split("\n")
    told = [line.strip() for line in lines if line.strip() and not line.startswith(_HEADING)]
    return (told[0] if told else text)[:longest]
