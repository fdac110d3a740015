"""`Symbol`: what is to be computed, put together before it is bound and run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elastic_inference.frameworks.mxnet import arguments, inferring, log, table
from elastic_inference.frameworks.mxnet.attributes import to_text
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.errors import (
    NotImplementedForSymbol,
    index_error,
    mxnet_error,
    type_error,
    value_error,
)
from elastic_inference.frameworks.mxnet.graph import VARIABLE, Entry, Graph, Node, output_name
from elastic_inference.frameworks.mxnet.names import NameManager, attributes_of

if TYPE_CHECKING:
    from elastic_inference.frameworks.mxnet.symbol_json import Loaded

_NUMBERS = {
    "float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6,
    "bool": 7, "int16": 8,
}  # fmt: skip

# What the auxiliary states of a normalisation are before training.
_FIRST = {"moving_mean": '["zero", {}]', "moving_var": '["one", {}]'}


def _binary(both: str, scalar: str, number_is: str = "right") -> Callable[..., Symbol]:
    """The method of an operator of Python: `both` for two symbols, `scalar` for a number."""

    def method(self: Symbol, other: Any) -> Symbol:
        if isinstance(other, Symbol):
            first, second = (self, other) if number_is == "right" else (other, self)
            return compose(both, both.lower(), (first, second), {})
        if isinstance(other, int | float | np.number | np.bool_):
            plain = other.item() if isinstance(other, np.generic) else other
            return compose(scalar, scalar.lower(), (self,), {"scalar": plain})
        raise type_error(f"type {type(other)} not supported")

    return method


class Symbol:
    """Results of a graph: one, or several in a group.

    Composed by the functions of `mx.sym`, by Python's operators, and by calling a symbol with
    others in the place of its variables. Nothing is computed until it is bound.
    """

    __slots__ = ("graph",)

    def __init__(self, heads: Sequence[Entry]) -> None:
        self.graph = Graph(list(heads))

    # What it is.

    @property
    def name(self) -> str | None:
        """The name of its node; None for a group."""
        nodes = {node for node, _ in self.graph.heads}
        return next(iter(nodes)).name if len(nodes) == 1 else None

    def __repr__(self) -> str:
        name = self.name
        if name is None:
            return f"<Symbol group [{', '.join(each.name or '' for each in self)}]>"
        return f"<Symbol {name}>"

    def __len__(self) -> int:
        return len(self.graph.heads)

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([head]) for head in self.graph.heads)

    def __getitem__(self, index: int | str | slice) -> Symbol:
        if isinstance(index, slice):
            return Symbol(self.graph.heads[index])
        if isinstance(index, str):
            names = self.list_outputs()
            found = [at for at, name in enumerate(names) if name == index]
            if not found:
                raise value_error(f'Cannot find output that matches name "{index}"')
            if len(found) > 1:
                raise value_error(f'There are multiple outputs with name "{index}"')
            index = found[0]
        if not 0 <= index < len(self):
            raise index_error("Index out of range")
        return Symbol([self.graph.heads[index]])

    def list_arguments(self) -> list[str]:
        return [node.name for node in self.graph.arguments()]

    def list_auxiliary_states(self) -> list[str]:
        return [node.name for node in self.graph.auxiliary_states()]

    def list_inputs(self) -> list[str]:
        """Arguments and auxiliary states, in the graph's order."""
        return [node.name for node in self.graph.variables()]

    def list_outputs(self) -> list[str]:
        return self.graph.output_names()

    @property
    def num_outputs(self) -> int:
        return len(self)

    def get_internals(self) -> Symbol:
        """A group of every node's results, to take one as `internals['relu1_output']`."""
        return Symbol(self.graph.internals().heads)

    def get_children(self) -> Symbol | None:
        """A group of what its node takes; None for a variable."""
        entries = [entry for node in _heads(self.graph) for entry in node.inputs]
        return Symbol(entries) if entries else None

    # Attributes.

    def attr(self, key: str) -> str | None:
        return self._one().attributes.get(key)

    def list_attr(self, recursive: bool = False) -> dict[str, str]:
        if recursive:
            raise mxnet_error("python", "recursive list_attr is gone. Please use attr_dict instead")
        return dict(self._one().attributes)

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of every node that has any."""
        return {node.name: dict(node.attributes) for node in self.graph.nodes() if node.attributes}

    def _set_attr(self, **attributes: str) -> None:
        for value in attributes.values():
            if not isinstance(value, str):
                raise value_error("Set Attr only accepts string values")
        self._one().attributes.update(attributes)

    def _one(self) -> Node:
        nodes = _heads(self.graph)
        if len(nodes) != 1:
            raise value_error("a group of symbols has no attributes of its own")
        return nodes[0]

    # Composition.

    def __call__(self, *arguments: Symbol, **keywords: Any) -> Symbol:
        """A copy with other symbols in the place of its variables."""
        copied = copy.copy(self)
        copied.compose(*arguments, **keywords)
        return copied

    def compose(self, *given: Symbol, name: str | None = None, **keywords: Symbol) -> None:
        """Put other symbols in the place of its variables."""
        if given and keywords:
            raise type_error("compose only accept input Symbols either as positional or keyword")
        if not all(isinstance(each, Symbol) for each in (*given, *keywords.values())):
            raise type_error("Compose expect `Symbol` as arguments")
        replacements = dict(zip(self.list_inputs(), given, strict=False)) | keywords
        unknown = keywords.keys() - set(self.list_inputs())
        if unknown:
            raise mxnet_error("nnvm", f"Symbol.Compose: no argument is named {min(unknown)}")
        self.graph = _replaced(self.graph, replacements)
        if name:
            for node in _heads(self.graph):
                node.name = name

    def __copy__(self) -> Symbol:
        return Symbol(_replaced(self.graph, {}).heads)

    def __deepcopy__(self, _memo: Any) -> Symbol:
        return copy.copy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return load_json, (self.tojson(),)

    __add__ = __radd__ = _binary("_Plus", "_PlusScalar")
    __sub__ = _binary("_Minus", "_MinusScalar")
    __rsub__ = _binary("_Minus", "_RMinusScalar", "left")
    __mul__ = __rmul__ = _binary("_Mul", "_MulScalar")
    __truediv__ = __div__ = _binary("_Div", "_DivScalar")
    __rtruediv__ = __rdiv__ = _binary("_Div", "_RDivScalar", "left")
    __mod__ = _binary("_Mod", "_ModScalar")
    __rmod__ = _binary("_Mod", "_RModScalar", "left")
    __pow__ = _binary("_Power", "_PowerScalar")
    __rpow__ = _binary("_Power", "_RPowerScalar", "left")
    __eq__ = _binary("_equal", "_equal_scalar")  # type: ignore[assignment]
    __ne__ = _binary("_not_equal", "_not_equal_scalar")  # type: ignore[assignment]
    __gt__ = _binary("_greater", "_greater_scalar")
    __ge__ = _binary("_greater_equal", "_greater_equal_scalar")
    __lt__ = _binary("_lesser", "_lesser_scalar")
    __le__ = _binary("_lesser_equal", "_lesser_equal_scalar")

    def __neg__(self) -> Symbol:
        return self * -1.0

    def __abs__(self) -> Symbol:
        return compose("abs", "abs", (self,), {})

    def __hash__(self) -> int:
        return id(self) >> 4

    def __bool__(self) -> bool:
        raise NotImplementedForSymbol(
            'Function __bool__ (namely operator "bool") is not implemented for Symbol and only '
            "available in NDArray."
        )

    def __getattr__(self, name: str) -> Any:
        # Methods that are operators: x.reshape((0, -1)) is sym.reshape(x, (0, -1)).
        if name.startswith("_") or table.find(name) is None:
            raise AttributeError(f"'Symbol' object has no attribute {name!r}")

        def method(*arguments: Any, **keywords: Any) -> Symbol:
            if len(arguments) > 1 and name in {"reshape", "transpose"}:
                arguments = (arguments,)
            return compose(name, name.lower(), (self, *arguments), keywords)

        return method

    # Shapes and dtypes.

    def infer_shape(self, *given: Any, **keywords: Any) -> Any:
        """Shapes of arguments, outputs and auxiliary states, from those of some arguments.

        Three times None where they are not enough.

        Raises:
            MXNetError: they contradict each other.
        """
        return inferring.shapes(self.graph, given, keywords, partial=False)

    def infer_shape_partial(self, *given: Any, **keywords: Any) -> Any:
        """As `infer_shape`, with what is known: 0 for a size that is not, () for no shape."""
        return inferring.shapes(self.graph, given, keywords, partial=True)

    def infer_type(self, *given: Any, **keywords: Any) -> Any:
        """Dtypes of arguments, outputs and auxiliary states, from those of some arguments."""
        return inferring.types(self.graph, given, keywords, partial=False)

    def infer_type_partial(self, *given: Any, **keywords: Any) -> Any:
        return inferring.types(self.graph, given, keywords, partial=True)

    # Files.

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The text of a `-symbol.json` file."""
        from elastic_inference.frameworks.mxnet import symbol_json  # noqa: PLC0415 - for files

        return symbol_json.dumps(_without_casts(self.graph) if remove_amp_cast else self.graph)

    def save(self, fname: str, remove_amp_cast: bool = True) -> None:
        with open(fname, "w", encoding="utf-8") as file:  # noqa: PTH123 - as it is named
            file.write(self.tojson(remove_amp_cast))

    def debug_str(self) -> str:
        lines = [f"Symbol Outputs:\n{self.list_outputs()}"]
        for node in self.graph.nodes():
            inputs = ", ".join(output_name(entry) for entry in node.inputs)
            what = "Variable" if node.is_variable else f"Op:{node.operator}"
            lines.append(f"{what}, Name={node.name} Inputs: {inputs}")
        return "\n".join(lines)

    # Running.

    def bind(
        self,
        ctx: Context,
        args: Any,
        args_grad: Any = None,
        grad_req: Any = "write",
        aux_states: Any = None,
        group2ctx: Any = None,
        shared_exec: Any = None,
    ) -> Any:
        """An executor of the symbol on `ctx`, with arrays for all of its arguments.

        Raises:
            ValueError: an argument is missing.
            MXNetError: shapes contradict each other, an operator cannot be run, or there is no
                accelerator.
        """
        from elastic_inference.frameworks.mxnet import executor  # noqa: PLC0415 - runs models

        return executor.bind(
            self, ctx, args, aux_states,
            args_grad=args_grad, grad_req=grad_req, group2ctx=group2ctx, shared=shared_exec,
        )  # fmt: skip

    _bind = bind

    def simple_bind(
        self,
        ctx: Context,
        grad_req: Any = "write",
        type_dict: Any = None,
        stype_dict: Any = None,
        group2ctx: Any = None,
        shared_arg_names: Any = None,
        shared_exec: Any = None,
        shared_buffer: Any = None,
        **shapes: Any,
    ) -> Any:
        """An executor of the symbol on `ctx` with arrays of its own, from some shapes; see `bind`.

        Raises:
            MXNetError, ValueError: as `bind`.
        """
        from elastic_inference.frameworks.mxnet import executor  # noqa: PLC0415 - runs models

        del stype_dict, shared_arg_names, shared_buffer  # arrays are dense and small
        return executor.simple_bind(
            self, ctx, shapes,
            type_dict=type_dict, grad_req=grad_req, group2ctx=group2ctx, shared=shared_exec,
        )  # fmt: skip

    _simple_bind = simple_bind

    def evaluate(self, ctx: Context | None = None, **arrays: Any) -> Any:
        """The results for these arguments."""
        return self.bind(ctx or current_context(), arrays, grad_req="null").forward()

    eval = evaluate  # MXNet's name

    def optimize_for(
        self, backend: str, args: Any = None, aux: Any = None, ctx: Any = None, **_: Any
    ) -> Symbol:
        """The symbol for a backend: `EIA` takes it as it is, when it is bound to `mx.eia()`.

        Raises:
            MXNetError: there is no such backend.
        """
        del args, aux, ctx
        if backend.upper() not in {"EIA", "EI", "DEFAULT"}:
            raise mxnet_error(
                "src/c_api/c_api_symbolic.cc:1406", f"Error optimizing for backend '{backend}'"
            )
        return copy.copy(self)

    get_backend_symbol = optimize_for


def var(
    name: str,
    attr: Mapping[str, str] | None = None,
    shape: Any = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: Any = None,
    init: Any = None,
    stype: Any = None,
    profiler_scope: Any = None,
    **keywords: Any,
) -> Symbol:
    """A variable: an argument of the symbols that are made of it."""
    del profiler_scope
    if not isinstance(name, str):
        raise type_error("Expect a string for variable `name`")
    attributes = dict(attributes_of(attr))
    further = {
        "__shape__": None if shape is None else to_text(tuple(np.atleast_1d(shape).tolist())),
        "__lr_mult__": lr_mult,
        "__wd_mult__": wd_mult,
        "__dtype__": None if dtype is None else _NUMBERS[np.dtype(dtype).name],
        "__init__": init if init is None or isinstance(init, str) else init.dumps(),
        "__storage_type__": stype,
    }
    attributes |= {key: str(value) for key, value in further.items() if value is not None}
    for key, value in keywords.items():
        if not (key.startswith("__") and key.endswith("__")):
            raise value_error(
                f"Attribute name={key} is not supported. Additional attributes must start and "
                "end with double underscores, e.g, __yourattr__"
            )
        attributes[key] = str(value)
    full = NameManager.current().get(name, name)
    return Symbol([(Node(VARIABLE, full, attributes), 0)])


Variable = var


def Group(symbols: Sequence[Symbol], create_fn: Any = None) -> Symbol:  # noqa: N802 - its name
    """One symbol of the results of several."""
    del create_fn
    if not symbols or not all(isinstance(each, Symbol) for each in symbols):
        raise type_error("Expected a list of symbols as input")
    return Symbol([head for each in symbols for head in each.graph.heads])


def compose(name: str, hint: str, given: Sequence[Any], keywords: Mapping[str, Any]) -> Symbol:
    """The symbol of an operator applied to others; inputs that are not given become variables.

    Args:
        name: the operator's, or an alias.
        hint: what a node without a name is called, with a number behind it.

    Raises:
        MXNetError, TypeError: the operator does not take this.
    """
    operator = table.find(name)
    if operator is None:
        raise mxnet_error("nnvm", f"Operator {name} is not known.")
    named = dict(keywords)
    own_name, attributes = named.pop("name", None), named.pop("attr", None)
    for each in ("out", "ctx", "profiler_scope"):
        named.pop(each, None)
    node_name = NameManager.current().get(own_name, hint.lstrip(".") or operator.name.lower())
    call = arguments.sort(operator, given, named, Symbol, node_name)
    node = Node(operator.name, node_name, attributes_of(attributes) | call.attributes)
    for each in call.names:
        found = call.inputs.get(each)
        if found is None:
            attributes = _inherited(node, each)
            node.inputs.append((Node(VARIABLE, f"{node_name}_{each}", attributes), 0))
        elif len(found) == 1:
            node.inputs.append(found.graph.heads[0])
        else:
            raise type_error(f"{operator.name}(name={node_name!r}): {each} is a group of symbols")
    return Symbol([(node, index) for index in range(operator.visible(call.values))])


def load(fname: str) -> Symbol:
    """The symbol of a `-symbol.json` file of any version of MXNet.

    Raises:
        InvalidRequestError: it cannot be read.
        ModelFormatError: it is no such file.
    """
    from elastic_inference.frameworks.mxnet import symbol_json  # noqa: PLC0415 - for files

    if not isinstance(fname, str | os.PathLike):
        raise type_error("fname need to be string")
    return _loaded(symbol_json.load(fname))


def load_json(json_str: str) -> Symbol:
    """The symbol of the text of such a file."""
    from elastic_inference.frameworks.mxnet import symbol_json  # noqa: PLC0415 - for files

    if not isinstance(json_str, str):
        raise type_error("fname required to be string")
    return _loaded(symbol_json.loads(json_str))


def _loaded(read: Loaded) -> Symbol:
    if read.is_old:
        log.upgraded(f"{read.version // 10000}.{read.version // 100 % 100}.{read.version % 100}")
    return Symbol(read.graph.heads)


fromjson = load_json


def _heads(graph: Graph) -> list[Node]:
    return list(dict.fromkeys(node for node, _ in graph.heads))


def _inherited(node: Node, name: str) -> dict[str, str]:
    """What a variable that comes with a node has: the node's own attributes, as in MXNet."""
    begin = _FIRST.get(name) if node.operator == "BatchNorm" else None
    return dict(node.attributes) | ({"__init__": begin} if begin else {})


def _replaced(graph: Graph, replacements: Mapping[str, Symbol]) -> Graph:
    """A copy of the graph with other results in the place of some variables."""
    made: dict[Node, Node] = {}
    instead: dict[Node, Entry] = {}
    for node in graph.nodes():
        replacement = replacements.get(node.name) if node.is_variable else None
        if replacement is not None:
            if len(replacement) != 1:
                raise type_error(f"{node.name} cannot be replaced by a group of symbols")
            instead[node] = replacement.graph.heads[0]
        elif node.is_variable and replacements:
            # Variables stay what they are, so that others that share them still do.
            made[node] = node
        else:
            inputs = [instead.get(each) or (made[each], index) for each, index in node.inputs]
            made[node] = Node(
                node.operator, node.name, dict(node.attributes), inputs, node.subgraphs
            )
    return Graph([instead.get(node) or (made[node], index) for node, index in graph.heads])


def _without_casts(graph: Graph) -> Graph:
    """The graph without the casts that mixed precision put in, as files are written."""
    if not any(node.operator in {"amp_cast", "amp_multicast"} for node in graph.nodes()):
        return graph
    made: dict[Node, Node] = {}
    skipped: dict[Entry, Entry] = {}

    def now(entry: Entry) -> Entry:
        return skipped.get(entry) or (made[entry[0]], entry[1])

    for node in graph.nodes():
        inputs = [now(entry) for entry in node.inputs]
        if node.operator in {"amp_cast", "amp_multicast"}:
            skipped |= {(node, index): entry for index, entry in enumerate(inputs)}
        else:
            made[node] = Node(
                node.operator, node.name, dict(node.attributes), inputs, node.subgraphs
            )
    return Graph([now(head) for head in graph.heads])


__all__ = ["Group", "Symbol", "Variable", "fromjson", "load", "load_json", "var"]
