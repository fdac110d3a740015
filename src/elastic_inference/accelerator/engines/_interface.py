"""How a TensorFlow graph is described from outside: the file beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.errors import ModelFormatError
from elastic_inference.protocol.tensorflow import DATATYPES, GRAPH, INTERFACE
from elastic_inference.protocol.tensors import MAX_RANK, TensorSpec

_LARGEST = 1 << 20
_MOST_TENSORS = 4096
_LONGEST_NAME = 1024


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output.

    Attributes:
        spec: how the protocol describes it.
        tensor: its name in the graph, as `x:0`.
        dtype: TensorFlow's name of its elements' type.
    """

    spec: TensorSpec
    tensor: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Interface:
    """What `interface.json` says.

    Attributes:
        initializer: an operation to run once, or "".
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    initializer: str


def read_interface(path: Path) -> Interface:
    """The interface in the file at `path`.

    Raises:
        ModelFormatError: it is none, or over its bounds.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is larger than 1 MiB")
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise TypeError("it is no object")
        initializer = document.get("initializer", "")
        if not isinstance(initializer, str) or len(initializer) > _LONGEST_NAME:
            raise TypeError("the initializer is no name")
        return Interface(
            _ports(document.get("inputs")), _ports(document.get("outputs")), initializer
        )
    except FileNotFoundError:
        raise ModelFormatError(
            f"The model has no file {INTERFACE}.",
            next_step=f"Upload {GRAPH} and {INTERFACE} together; see docs/protocol.md.",
        ) from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{INTERFACE} is malformed: {error}.") from error


def _ports(entries: Any) -> tuple[Port, ...]:
    if not isinstance(entries, list) or len(entries) > _MOST_TENSORS:
        raise TypeError(f"inputs and outputs must be lists of at most {_MOST_TENSORS}")
    ports = tuple(_port(entry) for entry in entries)
    if len({port.spec.name for port in ports}) != len(ports):
        raise ValueError("a name stands twice")
    return ports


def _port(entry: Any) -> Port:
    if not isinstance(entry, dict):
        raise TypeError("an entry is no object")
    name, tensor, dtype = (entry.get(key) for key in ("name", "tensor", "dtype"))
    for text in (name, tensor):
        if not isinstance(text, str) or not 0 < len(text.encode()) <= _LONGEST_NAME:
            raise TypeError("a name is no text, or too long")
    if not isinstance(dtype, str) or dtype not in DATATYPES:
        raise ValueError(f"tensors of type {str(dtype)[:32]!r} cannot be passed")
    spec = TensorSpec(str(name), DATATYPES[dtype], _shape(entry.get("shape")))
    return Port(spec, str(tensor), dtype)


def _shape(sizes: Any) -> tuple[int, ...] | None:
    if sizes is None:
        return None
    if not isinstance(sizes, list) or len(sizes) > MAX_RANK:
        raise TypeError("a shape is no list of sizes")
    for size in sizes:
        if size is not None and (type(size) is not int or not 0 <= size < 1 << 40):
            raise ValueError("a size is not valid")
    return tuple(-1 if size is None else size for size in sizes)
