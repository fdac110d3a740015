"""The table of operators: what each takes and gives, and how it runs.

The modules `ops_*` fill it, with one small function for each operator.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from elastic_inference.frameworks.mxnet import attributes as reading
from elastic_inference.frameworks.mxnet.attributes import Attributes, Declaration
from elastic_inference.frameworks.mxnet.errors import MXNetError, mxnet_error
from elastic_inference.frameworks.mxnet.graph import Node
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, Types, same_dtype
from elastic_inference.protocol.tensors import Array

if TYPE_CHECKING:
    from elastic_inference.frameworks.mxnet.emit import Emit

Names: TypeAlias = "tuple[str, ...] | Callable[[Attributes], tuple[str, ...]]"
OnnxFunction: TypeAlias = "Callable[[Emit], Any]"
NumpyFunction: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

_MODULES = (
    "ops_elementwise",
    "ops_layers",
    "ops_norm",
    "ops_output",
    "ops_pooling",
    "ops_shape",
    "ops_slice",
    "ops_reduce",
    "ops_create",
    "ops_index",
    "ops_matrix",
    "ops_sequence",
    "ops_vision",
    "ops_boxes",
    "ops_regions",
    "ops_proposals",
    "ops_special",
    "ops_random",
)
_SOURCE = "src/executor/graph_executor.cc:1"
_MAX_INPUTS = _MAX_OUTPUTS = 1 << 16
_operators: dict[str, Operator] = {}
_loading = threading.Lock()
_loaded: list[str] = []


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of MXNet.

    Attributes:
        name: the canonical one; `aliases` are others that files and scripts use.
        inputs: their names, which attributes may decide; a variadic operator numbers its own.
        parameters: its attributes.
        shapes, types: what follows for shapes and dtypes, in either direction.
        variadic: the attribute that counts the inputs, or "".
        auxiliary: names of those inputs that are auxiliary states.
        outputs: how many results there are, by attributes.
        shown: how many of them a symbol shows, or None for all.
        names: of the results.
        onnx: writes the operator as ONNX, or None where the instance must run it.
        numpy: computes the operator on the instance: takes the attributes, and an array for
            each input; or None.
        here: tells from attributes, and from shapes and dtypes of the inputs, whether the
            instance must run what has both; or None where it need not.
    """

    name: str
    inputs: Names
    parameters: Declaration
    shapes: Callable[[Shapes], None]
    types: Callable[[Types], None] = same_dtype
    aliases: tuple[str, ...] = ()
    variadic: str = ""
    auxiliary: tuple[str, ...] = ()
    outputs: Callable[[Attributes], int] = lambda _: 1
    shown: Callable[[Attributes], int] | None = None
    names: tuple[str, ...] = ()
    onnx: OnnxFunction | None = None
    numpy: NumpyFunction | None = None
    here: Callable[[Attributes, Sequence[Shape], Sequence[Any]], bool] | None = None

    def input_names(self, values: Attributes, count: int | None = None) -> tuple[str, ...]:
        """Names of the inputs; `count` of them where the operator is variadic."""
        if self.variadic and isinstance(self.inputs, tuple):
            given = count if count is not None else getattr(values, self.variadic) or 0
            if given > _MAX_INPUTS:
                raise mxnet_error(_SOURCE, f"{self.name} cannot have {given} inputs")
            return tuple(f"arg{index}" for index in range(given))
        return self.inputs if isinstance(self.inputs, tuple) else self.inputs(values)

    def visible(self, values: Attributes) -> int:
        """How many results a symbol of the operator has."""
        return (self.shown or self.outputs)(values)

    def output_names(self, values: Attributes) -> tuple[str, ...]:
        """Names of all results."""
        count = self.outputs(values)
        if self.names:
            return self.names[:count]
        return ("output",) if count == 1 else tuple(f"output{index}" for index in range(count))

    def parse(
        self, attributes: Mapping[str, str], node: str = "", *, strict: bool = False
    ) -> Attributes:
        """The values of a node's attributes; errors as `attributes.parse`."""
        return reading.parse(
            self.parameters, attributes, f'{self.name}(name="{node}")', strict=strict
        )


def operator(
    *names: str,
    shapes: Callable[[Shapes], None],
    inputs: Names = ("data",),
    parameters: Declaration | None = None,
    types: Callable[[Types], None] = same_dtype,
    variadic: str = "",
    auxiliary: tuple[str, ...] = (),
    outputs: int | Callable[[Attributes], int] = 1,
    visible: int | Callable[[Attributes], int] | None = None,
    output_names: tuple[str, ...] = (),
    numpy: NumpyFunction | None = None,
) -> Callable[[F], F]:
    """Put an operator into the table: `names` are its own and its aliases.

    The decorated function writes it as ONNX.
    """

    def add(function: F) -> F:
        enter(
            Operator(
                names[0], inputs, parameters or {}, shapes, types, names[1:], variadic, auxiliary,
                _counted(outputs), None if visible is None else _counted(visible),
                output_names, function, numpy,
            )
        )  # fmt: skip
        return function

    return add


def enter(made: Operator) -> None:
    """Put an operator into the table."""
    for name in (made.name, *made.aliases):
        if name in _operators:
            raise AssertionError(f"{name} is in the table twice")
        _operators[name] = made


def _counted(count: int | Callable[[Attributes], int]) -> Callable[[Attributes], int]:
    if isinstance(count, int):
        fixed = count
        return lambda _: fixed
    computed = count

    def bounded(values: Attributes) -> int:
        found = computed(values)
        if not 0 < found <= _MAX_OUTPUTS:
            raise mxnet_error(_SOURCE, f"An operator cannot have {found} outputs")
        return found

    return bounded


def operators() -> Mapping[str, Operator]:
    """All operators, by each of their names."""
    if len(_loaded) != len(_MODULES):
        with _loading:
            for name in _MODULES[len(_loaded) :]:
                importlib.import_module(f"elastic_inference.frameworks.mxnet.{name}")
                _loaded.append(name)
    return _operators


def find(name: str) -> Operator | None:
    """The operator of that name or alias."""
    return operators().get(name)


def of_node(node: Node) -> Operator:
    """The operator of a node that is no variable.

    Raises:
        MXNetError: there is none; it names operator and node.
    """
    found = find(node.operator)
    if found is None:
        raise unsupported(node, "this operator is not known")
    return found


def parsed(node: Node) -> Attributes:
    """The values of a node's attributes.

    Raises:
        MXNetError: the operator is unknown, or an attribute is wrong.
    """
    return _parsed(node.operator, node.name, tuple(sorted(node.attributes.items())))


@lru_cache(maxsize=4096)
def _parsed(name: str, node: str, attributes: tuple[tuple[str, str], ...]) -> Attributes:
    found = find(name)
    if found is None:
        raise unsupported(Node(name, node), "this operator is not known")
    return found.parse(dict(attributes), node)


def auxiliary_inputs(node: Node) -> Sequence[int]:
    """Which inputs of a node are auxiliary states."""
    found = find(node.operator)
    if found is None or not found.auxiliary:
        return ()
    names = found.input_names(parsed(node))
    return [index for index, name in enumerate(names) if name in found.auxiliary]


def unsupported(node: Node, why: str) -> MXNetError:
    """The error for a node that cannot be run."""
    return mxnet_error(
        _SOURCE,
        f"Operator {node.operator} (node {node.name!r}) cannot be run: {why}.",
    )


__all__ = [
    "Array",
    "NumpyFunction",
    "OnnxFunction",
    "Operator",
    "auxiliary_inputs",
    "enter",
    "find",
    "of_node",
    "operator",
    "operators",
    "parsed",
    "unsupported",
]
