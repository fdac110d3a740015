"""Operators that compute each element by itself."""

from __future__ import annotations

from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import same_shape
from elastic_inference.frameworks.mxnet.table import operator


@operator("elemwise_add", "_plus", "_add", "_Plus", inputs=("lhs", "rhs"), shapes=same_shape)
def _add(e: Emit) -> str:
    return e.add("Add", *e.inputs)
