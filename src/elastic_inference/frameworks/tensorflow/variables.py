"""Graphs that write their variables: those cannot become constants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from elastic_inference.frameworks.tensorflow.frozen import Frozen, inline
from elastic_inference.protocol.tensorflow import NUMBERS, node_of

_HANDLES = {"VarHandleOp", "Variable", "VariableV2"}
# Operators that write the variable of their first input.
_WRITES = ("Assign", "ResourceApply", "ResourceScatter", "Scatter", "ResourceCountUpTo", "Apply",
           "CountUpTo", "ResourceStridedSliceAssign", "StridedSliceAssign")  # fmt: skip
_SCATTERS_NOTHING = {"ScatterNd", "ScatterNdNonAliasingAdd"}
_INITIALIZER = "elastic_inference/set_variables"
_READS = frozenset(["ReadVariableOp", "ResourceGather"])
_RESOURCE, _INT32 = NUMBERS["resource"], NUMBERS["int32"]


def is_write(op: str) -> bool:
    """Whether an operator of that name writes a variable."""
    return op.startswith(_WRITES) and op not in _SCATTERS_NOTHING


def written_variables(definition: Any, ends: Iterable[str]) -> bool:
    """Whether the graph writes variables to get at `ends`."""
    return any(is_write(node.op) for node in reached(definition, ends))


def reached(definition: Any, ends: Iterable[str]) -> Iterator[Any]:
    """The nodes that `ends` need, and those of the functions that these call."""
    functions = {each.signature.name: each for each in definition.library.function}
    seen: set[str] = set()
    pending = list(_reachable(definition, ends))
    while pending:
        node = pending.pop()
        yield node
        for name in called(node):
            if name in functions and name not in seen:
                seen.add(name)
                pending.extend(functions[name].node_def)


def called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "func":
            yield attribute.func.name
        elif kind == "list":
            for function in attribute.list.func:
                yield function.name


def _reachable(definition: Any, ends: Iterable[str]) -> Iterator[Any]:
    nodes = {node.name: node for node in definition.node}
    seen: set[str] = set()
    pending = list(ends)
    while pending:
        name = pending.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield nodes[name]
        pending.extend(node_of(each) for each in nodes[name].input)


def keep_variables(tf: Any, session: Any, frozen: Frozen) -> Frozen:
    """The graph with constants for variables that it only reads.

    Those that it writes get their present values from the initializer, except where the
    model's own sets them.
    """
    v1 = tf.compat.v1
    inlined = inline(tf, frozen)
    reached = {node.name: node for node in _reachable(inlined.definition, frozen.ends)}
    written = _written(reached)
    definition = v1.graph_util.convert_variables_to_constants(
        session, inlined.definition, frozen.ends, variable_names_blacklist=sorted(written)
    )
    own = (
        _written({n.name: n for n in _reachable(inlined.definition, [frozen.initializer])})
        if frozen.initializer
        else set()
    )
    sets = [_set(tf, session, definition, reached[name]) for name in sorted(written - own)]
    if frozen.initializer:
        sets.append(frozen.initializer)
    definition.node.add(name=_INITIALIZER, op="NoOp", input=[f"^{name}" for name in sets])
    return replace(frozen, definition=definition, initializer=_INITIALIZER)


def _written(nodes: dict[str, Any]) -> set[str]:
    """Variables that go into something that may write them."""
    found: set[str] = set()
    for node in nodes.values():
        if is_write(node.op) or any(True for _ in called(node)):
            for each in node.input:
                found.update(_origin(nodes, node_of(each)))
    return found


def _origin(nodes: dict[str, Any], name: str) -> Iterator[str]:
    node = nodes.get(name)
    while node is not None and node.op in {"Identity", "RefIdentity"} and node.input:
        node = nodes.get(node_of(node.input[0]))
    if node is not None and node.op in _HANDLES:
        yield node.name


def _set(tf: Any, session: Any, definition: Any, variable: Any) -> str:
    """Add what gives `variable` its present value; the name of the node that does."""
    is_resource = variable.op == "VarHandleOp"
    read = f"{variable.name}/Read/ReadVariableOp:0" if is_resource else f"{variable.name}:0"
    value = tf.make_tensor_proto(session.run(read))
    dtype = variable.attr["dtype"]
    name = f"elastic_inference/{variable.name}"
    constant = definition.node.add(name=f"{name}/value", op="Const")
    constant.attr["dtype"].CopyFrom(dtype)
    constant.attr["value"].tensor.CopyFrom(value)
    assign = definition.node.add(
        name=f"{name}/set",
        op="AssignVariableOp" if is_resource else "Assign",
        input=[variable.name, constant.name],
    )
    assign.attr["dtype" if is_resource else "T"].CopyFrom(dtype)
    return str(assign.name)


def read_constants(definition: Any) -> None:
    """Have functions take as values what were variables, in place.

    TensorFlow makes constants of variables, and leaves operators in loops that read variables.
    """
    for function in definition.library.function:
        values = {
            argument.name for argument in function.signature.input_arg if argument.type != _RESOURCE
        }
        renamed = {}
        for node in list(function.node_def):
            if node.op in _READS and node.input[0] in values:
                _read_value(function, node)
                if node.op == "Identity":
                    renamed[f"{node.name}:value:0"] = f"{node.name}:output:0"
        for node in function.node_def:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
        for key, name in function.ret.items():
            function.ret[key] = renamed.get(name, name)


def _read_value(function: Any, node: Any) -> None:
    dtype = node.attr["dtype"].type
    if node.op == "ReadVariableOp":
        node.op = "Identity"
        node.attr.clear()
        node.attr["T"].type = dtype
        return
    axis = function.node_def.add(name=f"{node.name}/axis", op="Const")
    axis.attr["dtype"].type = _INT32
    axis.attr["value"].tensor.dtype = _INT32
    axis.attr["value"].tensor.tensor_shape.SetInParent()
    axis.attr["value"].tensor.int_val.append(0)
    indices, batch = node.attr["Tindices"].type, node.attr["batch_dims"].i
    node.op = "GatherV2"
    control = [each for each in node.input if each.startswith("^")]
    data = [each for each in node.input if not each.startswith("^")]
    del node.input[:]
    node.input.extend([*data, f"{axis.name}:output:0", *control])
    node.attr.clear()
    node.attr["Tparams"].type = dtype
    node.attr["Tindices"].type = indices
    node.attr["Taxis"].type = _INT32
    node.attr["batch_dims"].i = batch
