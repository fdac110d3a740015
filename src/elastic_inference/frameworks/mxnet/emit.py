"""What an operator's function writes ONNX with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import onnx_writer
from elastic_inference.frameworks.mxnet.attributes import Attributes
from elastic_inference.frameworks.mxnet.builder import Builder
from elastic_inference.frameworks.mxnet.graph import Node
from elastic_inference.frameworks.mxnet.rules import Shape
from elastic_inference.frameworks.mxnet.table import unsupported
from elastic_inference.protocol.tensors import Array

# An end of a slice that goes backwards, and takes the first element too.
TO_THE_START = -(1 << 63)


class Emit:
    """One node on its way to ONNX. All shapes are known.

    Attributes:
        a: the values of its attributes.
        inputs: names of its inputs' values.
        shapes, dtypes: of the inputs.
        out_shapes, out_dtypes: of all results.
    """

    def __init__(
        self,
        builder: Builder,
        node: Node,
        a: Attributes,
        inputs: Sequence[str],
        of_inputs: Sequence[tuple[Shape, np.dtype[Any]]],
        of_outputs: Sequence[tuple[Shape, np.dtype[Any]]],
    ) -> None:
        self._builder = builder
        self._node = node
        self.a = a
        self.inputs = tuple(inputs)
        self.shapes = tuple(shape for shape, _ in of_inputs)
        self.dtypes = tuple(dtype for _, dtype in of_inputs)
        self.out_shapes = tuple(shape for shape, _ in of_outputs)
        self.out_dtypes = tuple(dtype for _, dtype in of_outputs)

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def shape(self) -> Shape:
        """Of the first input."""
        return self.shapes[0]

    @property
    def rank(self) -> int:
        """Of the first input."""
        return len(self.shapes[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first input; of the first result where there is no input."""
        return self.dtypes[0] if self.dtypes else self.out_dtypes[0]

    @property
    def out_shape(self) -> Shape:
        """Of the first result."""
        return self.out_shapes[0]

    def axis(self, axis: int, rank: int | None = None) -> int:
        """`axis` of the first input, counted from the front."""
        return axis % (self.rank if rank is None else rank)

    def value(self, index: int) -> Array | None:
        """The content of an input that is a weight or a constant."""
        return self._builder.content(self.inputs[index])

    def refuse(self, why: str) -> Exception:
        """The error for what the operator cannot do here."""
        return unsupported(self._node, why)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Write an ONNX node with one result."""
        return self.several(operator, *inputs, count=1, **attributes)[0]

    def several(
        self, operator: str, *inputs: str, count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Write an ONNX node with `count` results."""
        return self._builder.add(operator, inputs, count, self._node.name, attributes, domain)

    def constant(self, array: Any, dtype: Any = None) -> str:
        """A constant; of the first input's dtype unless told otherwise."""
        return self._builder.constant(np.asarray(array, self.dtype if dtype is None else dtype))

    def integers(self, values: Sequence[int]) -> str:
        """A constant list of integers, as ONNX takes for shapes and axes."""
        return self._builder.constant(np.asarray(values, np.int64))

    def cast(self, x: str, dtype: Any) -> str:
        return self.add("Cast", x, to=onnx_writer.onnx_type(dtype))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", x, self.integers(shape))

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        return self.add("Transpose", x, perm=list(axes))

    def concat(self, parts: Sequence[str], axis: int) -> str:
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=axis)

    def slice(
        self,
        x: str,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> str:
        more = [] if steps is None else [self.integers(steps)]
        return self.add(
            "Slice", x, self.integers(starts), self.integers(ends), self.integers(axes), *more
        )

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        return self.several("Split", x, self.integers(sizes), count=len(sizes), axis=axis)

    def squeeze(self, x: str, axes: Sequence[int]) -> str:
        return self.add("Squeeze", x, self.integers(axes))

    def unsqueeze(self, x: str, axes: Sequence[int]) -> str:
        return self.add("Unsqueeze", x, self.integers(axes))

    def expand(self, x: str, shape: Sequence[int]) -> str:
        return self.add("Expand", x, self.integers(shape))

    def chain(self, x: str, *operators: str) -> str:
        """Operators of one input, one after the other."""
        for operator in operators:
            x = self.add(operator, x)
        return x
