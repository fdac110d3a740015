"""Rules for shapes and dtypes: what an operator tells of its inputs and results.

A shape is a tuple, in which 0 is a size that is not known yet, or None where not even the rank
is known. Rules run repeatedly, in both directions, and add what they can; a contradiction is
an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import Attributes
from elastic_inference.frameworks.mxnet.errors import MXNetError, mxnet_error

Shape: TypeAlias = tuple[int, ...]
MAX_RANK = 32
_SHAPE_SOURCE = "src/operator/./elemwise_op_common.h:135"
_MAX_ELEMENTS = 1 << 48


@dataclass(slots=True)
class Shapes:
    """What is known of the shapes around one node.

    Attributes:
        a: the node's attributes.
        inputs, outputs: the shapes; rules change them by `give` and `expect`.
        where: operator and node, for errors.
    """

    a: Attributes
    inputs: list[Shape | None]
    outputs: list[Shape | None]
    where: str

    def known(self, index: int = 0) -> Shape | None:
        """The shape of an input, if all of it is known."""
        found = self.inputs[index] if index < len(self.inputs) else None
        return found if is_known(found) else None

    def expect(self, index: int, shape: Sequence[int] | None) -> None:
        """An input has this shape, as far as it is known."""
        if index < len(self.inputs):
            self.inputs[index] = self._merged(self.inputs[index], shape)

    def give(self, shape: Sequence[int] | None, index: int = 0) -> None:
        """An output has this shape, as far as it is known."""
        self.outputs[index] = self._merged(self.outputs[index], shape)

    def refuse(self, why: str) -> MXNetError:
        """The error for shapes that the operator cannot take."""
        return mxnet_error(_SHAPE_SOURCE, f"Error in operator {self.where}: {why}")

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front."""
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} is out of bounds for an array of {rank} dimensions")
        return axis % rank

    def _merged(self, known: Shape | None, other: Sequence[int] | None) -> Shape | None:
        if other is None or known == other:
            return known
        # A size below 0 comes of a window that is larger than what it looks at.
        if min(other, default=0) < 0 or len(other) > MAX_RANK:
            raise self.refuse(f"the shape {list(other)} is not possible")
        if known is None:
            return tuple(int(size) for size in other)
        if len(known) != len(other) or any(a and b and a != b for a, b in zip(known, other)):  # noqa: B905
            raise self.refuse(
                f"Shape inconsistent, Provided = {list(known)}, inferred shape={list(other)}"
            )
        return tuple(a or int(b) for a, b in zip(known, other, strict=True))


@dataclass(slots=True)
class Types:
    """What is known of the dtypes around one node; as `Shapes`."""

    a: Attributes
    inputs: list[np.dtype[Any] | None]
    outputs: list[np.dtype[Any] | None]
    where: str

    def expect(self, index: int, dtype: Any) -> None:
        """An input has this dtype, if its own is not known."""
        if index < len(self.inputs) and self.inputs[index] is None and dtype is not None:
            self.inputs[index] = np.dtype(dtype)

    def give(self, dtype: Any, index: int = 0) -> None:
        """An output has this dtype."""
        if dtype is not None:
            self.outputs[index] = np.dtype(dtype)


def is_known(shape: Shape | None) -> bool:
    """Whether the rank and all sizes are known."""
    return shape is not None and 0 not in shape


def merged(known: Shape | None, other: Shape | None) -> Shape | None:
    """What both shapes tell together, where they do not contradict each other."""
    if known is None or other is None or len(known) != len(other):
        return known if known is not None else other
    return tuple(a or b for a, b in zip(known, other, strict=True))


def same_dtype(t: Types) -> None:
    """Everything has one dtype."""
    found = next((each for each in (*t.inputs, *t.outputs) if each is not None), None)
    for index in range(len(t.inputs)):
        t.expect(index, found)
    for index in range(len(t.outputs)):
        t.give(found, index)


def same_shape(s: Shapes) -> None:
    """All inputs and outputs have one shape."""
    found: Shape | None = None
    for shape in (*s.inputs, *s.outputs):
        found = merged(found, shape)
    for index in range(len(s.inputs)):
        s.expect(index, found)
    for index in range(len(s.outputs)):
        s.give(found, index)


def like_first(s: Shapes) -> None:
    """The result has the first input's shape, and the other way round."""
    found = merged(s.inputs[0], s.outputs[0])
    s.expect(0, found)
    s.give(found)


def first_dtype(t: Types) -> None:
    """Results have the dtype of the first input; the others have any."""
    found = t.inputs[0] if t.inputs else None
    if found is None:
        found = t.outputs[0]
        t.expect(0, found)
    for index in range(len(t.outputs)):
        t.give(found, index)
    for index in range(1, len(t.inputs)):
        t.expect(index, found)


def broadcast(s: Shapes) -> None:
    """Two inputs of numpy's broadcasting."""
    left, right = s.inputs
    if left is None or right is None:
        return
    rank = max(len(left), len(right))
    one = (1,) * (rank - len(left)) + left
    other = (1,) * (rank - len(right)) + right
    found = []
    for a, b in zip(one, other, strict=True):
        if a and b and a != b and 1 not in (a, b):
            raise s.refuse(f"operands could not be broadcast together with shapes {left} {right}")
        if a == 1 or b == 1:
            found.append(b if a == 1 else a)
        else:
            found.append(a or b)
    s.give(found)


def product(shape: Sequence[int]) -> int:
    """How many elements a shape has."""
    total = 1
    for size in shape:
        total *= size
        if total > _MAX_ELEMENTS:
            raise mxnet_error(_SHAPE_SOURCE, f"the shape {list(shape)} is too large")
    return total
