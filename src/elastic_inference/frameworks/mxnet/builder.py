"""One ONNX model as it is being built: nodes, constants, weights; and its files in the end."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.frameworks.mxnet import onnx_writer
from elastic_inference.frameworks.mxnet.onnx_writer import Place
from elastic_inference.frameworks.mxnet.origins import origin
from elastic_inference.frameworks.mxnet.rules import Shape
from elastic_inference.protocol.tensors import Array

Files: TypeAlias = Mapping[str, "str | bytes"]
MAIN = "model.onnx"
_WEIGHTS = "weights.bin"
# What is smaller is no worse off in the graph itself.
_INLINE = 1024
# Vector instructions want it of weights, the engine does not.
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value that goes into or comes out of a segment; its name is unique in a translation.

    Attributes:
        shape: with 0 for a size that depends on values.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Node:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    written: bytes


class Builder:
    """Names of values are unique across all builders that share `names`."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._nodes: list[_Node] = []
        self._arrays: dict[str, Array] = {}
        self._constants: dict[tuple[Any, ...], str] = {}

    def fresh(self, wanted: str) -> str:
        """A name like `wanted` that no value has yet."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def weight(self, name: str, array: Array) -> None:
        """The value `name` is this array."""
        self._arrays[name] = array

    def content(self, name: str) -> Array | None:
        """The array that a value is, if it is constant."""
        return self._arrays.get(name)

    def constant(self, array: Array) -> str:
        """The value that is this array; equal small ones are one."""
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else (id(array),)
        if key not in self._constants:
            name = self._constants[key] = self.fresh("constant")
            self._arrays[name] = array
        return self._constants[key]

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        count: int,
        name: str,
        attributes: Mapping[str, Any],
        domain: str = "",
    ) -> list[str]:
        """Write a node with `count` results; gives their names."""
        stem = f"{name}/{operator}"
        outputs = [self.fresh(stem if count == 1 else f"{stem}:{i}") for i in range(count)]
        label = outputs[0] if outputs else stem
        self._nodes.append(
            _Node(
                tuple(inputs),
                tuple(outputs),
                onnx_writer.node(operator, inputs, outputs, label, attributes, domain),
            )
        )
        return outputs

    def identity(self, source: str, name: str) -> None:
        """Give a value one more name."""
        written = onnx_writer.node("Identity", [source], [name], name, {})
        self._nodes.append(_Node((source,), (name,), written))

    def needed(self, wanted: Collection[str]) -> set[str]:
        """Drop what no value in `wanted` needs; gives the names that are read."""
        read = set(wanted)
        kept = []
        for node in reversed(self._nodes):
            if not read.isdisjoint(node.outputs):
                kept.append(node)
                read.update(node.inputs)
        self._nodes = kept[::-1]
        self._arrays = {name: array for name, array in self._arrays.items() if name in read}
        return read

    def files(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Files:
        """The model's files: arrays that lie in `.params` files stay there."""
        store = Store()
        initializers = [
            onnx_writer.tensor(name, array, store.place(array))
            for name, array in self._arrays.items()
        ]
        body = onnx_writer.graph(
            (node.written for node in self._nodes),
            initializers,
            (onnx_writer.value_info(each.name, each.dtype, each.shape) for each in inputs),
            (onnx_writer.value_info(each.name, each.dtype, each.shape) for each in outputs),
        )
        return {MAIN: onnx_writer.model(body), **store.files()}


class Store:
    """External data: `.params` files as they are, and one for what is in memory only."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._weights = bytearray()

    def place(self, array: Array) -> Place | None:
        if array.nbytes < _INLINE:
            return None
        found = origin(array)
        if found is not None:
            return Place(self._location(found.path), found.offset, array.nbytes)
        self._weights += bytes(-len(self._weights) % _ALIGNMENT)
        place = Place(_WEIGHTS, len(self._weights), array.nbytes)
        self._weights += np.ascontiguousarray(array).data.cast("B")
        return place

    def _location(self, path: str) -> str:
        if path not in self._paths:
            name = os.path.basename(path)  # noqa: PTH119 - a string is wanted
            taken = {MAIN, _WEIGHTS, *self._paths.values()}
            while name in taken:
                name = "_" + name
            self._paths[path] = name
        return self._paths[path]

    def files(self) -> dict[str, str | bytes]:
        found: dict[str, str | bytes] = {name: path for path, name in self._paths.items()}
        if self._weights:
            found[_WEIGHTS] = bytes(self._weights)
        return found
