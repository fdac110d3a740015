"""A frozen graph as the partitioner sees it: the nodes that are needed, and their tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.frozen import Frozen, tensor_name
from elastic_inference.frameworks.tensorflow.plan import Shape
from elastic_inference.frameworks.tensorflow.variables import called, is_write
from elastic_inference.protocol.tensorflow import NAMES, NUMBERS, carrier_of, name_of, node_of

Node: TypeAlias = Any
_UNKNOWN_SIZE = 16
_STRING_SIZE = 32
_UNKNOWN_BYTES = 64 * 1024
_NAMED = frozenset(NAMES)
# Where these are, the order in which nodes run decides what they give.
_STRICT = frozenset(["Enter", "Merge", "RefMerge", "RefSwitch", "Switch"])
# Stateful to TensorFlow, yet nothing but their results tells whether they ran.
_SILENT = (
    "Anonymous", "Hash", "IsVariable", "LookupTableExport", "LookupTableFind", "LookupTableSize",
    "Multinomial", "Mutable", "ParameterizedTruncated", "Placeholder", "Random", "ReadVariable",
    "StatefulRandom", "StatefulStandard", "StatefulTruncated", "StatefulUniform", "TensorArray",
    "TruncatedNormal", "VarHandle", "Variable",
)  # fmt: skip


class Graph:
    """What of a frozen graph is needed for its outputs.

    Attributes:
        frozen: the whole.
        nodes: NodeDefs by name; none before a tensor that is fed.
        fed: names of tensors that come from the caller.
        inputs: names of the tensors that a node takes, by node; none for control edges.
        controls: nodes that must have run before, by node.
        tf_graph: the whole, imported.
        users: nodes that take a tensor, by tensor.
        effects: nodes that do more than to give tensors, and those that wait for them.
        functions: the bodies that nodes call, by name.
    """

    def __init__(self, tf: Any, frozen: Frozen) -> None:
        """
        Raises:
            InvalidRequestError: an output needs a placeholder that is no input.
        """
        self.frozen = frozen
        self.fed = frozenset(frozen.inputs.values())
        self.results = tuple(dict.fromkeys(frozen.outputs.values()))
        self.functions = {each.signature.name: each for each in frozen.definition.library.function}
        self.tf_graph = tf.Graph()
        with self.tf_graph.as_default():
            tf.compat.v1.import_graph_def(frozen.definition, name="")
        every = {node.name: node for node in frozen.definition.node}
        self.nodes: dict[str, Node] = {}
        self.inputs: dict[str, tuple[str, ...]] = {}
        self.controls: dict[str, tuple[str, ...]] = {}
        self.users: dict[str, list[str]] = defaultdict(list)
        self.effects = _effects(every, self.functions)
        strict = any(node.op in _STRICT or is_write(node.op) for node in every.values())
        self._collect(every, _checks(every), strict=strict)
        self._refuse_unfed()

    def _collect(self, every: Mapping[str, Node], checks: set[str], *, strict: bool) -> None:
        pending = [node_of(name) for name in self.results if name not in self.fed]
        while pending:
            name = pending.pop()
            if name in self.nodes:
                continue
            node = self.nodes[name] = every[name]
            data = [tensor_name(each) for each in node.input if not each.startswith("^")]
            control = [each[1:] for each in node.input if each.startswith("^")]
            self.inputs[name] = tuple(data)
            self.controls[name] = tuple(
                each for each in control if each not in checks and (strict or each in self.effects)
            )
            for each in dict.fromkeys(data):
                self.users[each].append(name)
            pending.extend(node_of(each) for each in data if each not in self.fed)
            pending.extend(self.controls[name])

    def _refuse_unfed(self) -> None:
        for name, node in self.nodes.items():
            if node.op == "Placeholder" and f"{name}:0" not in self.fed:
                raise InvalidRequestError(
                    f"The outputs need {name}:0, which is not among the inputs.",
                    next_step="Name it as an input, or leave out the outputs that need it.",
                )

    def before(self, name: str) -> Iterator[str]:
        """The nodes that must run before a node; none for what is fed."""
        for tensor in self.inputs[name]:
            if tensor not in self.fed:
                yield node_of(tensor)
        yield from self.controls[name]

    def dtype(self, tensor: str) -> str:
        """TensorFlow's name of a tensor's element type; "" for one that has none here."""
        number = self.tf_graph.get_tensor_by_name(tensor).dtype.base_dtype.as_datatype_enum
        return name_of(number) if number in _NAMED else ""

    def shape(self, tensor: str) -> Shape:
        """What is known of a tensor's shape before the graph runs."""
        shape = self.tf_graph.get_tensor_by_name(tensor).shape
        return None if shape.rank is None else tuple(shape.as_list())

    def tensors_of(self, name: str) -> list[str]:
        """Names of the tensors that a node gives."""
        return [each.name for each in self.tf_graph.get_operation_by_name(name).outputs]

    def is_stateful(self, name: str) -> bool:
        """Whether running a node twice differs from running it once."""
        return bool(self.tf_graph.get_operation_by_name(name).op_def.is_stateful)

    def is_reference(self, tensor: str) -> bool:
        """Whether a tensor is a variable's own memory."""
        return bool(self.tf_graph.get_tensor_by_name(tensor).dtype._is_ref_dtype)  # noqa: SLF001

    def size(self, tensor: str) -> int:
        """About how many bytes a tensor has."""
        shape = self.shape(tensor)
        if shape is None:
            return _UNKNOWN_BYTES
        count = 1
        for position, size in enumerate(shape):
            count *= (1 if position == 0 else _UNKNOWN_SIZE) if size is None else size
        dtype = self.dtype(tensor)
        if dtype in {"string", "resource", "variant", ""}:
            return count * _STRING_SIZE
        return count * carrier_of(dtype).itemsize

    def bodies(self, node: Node) -> Iterator[Node]:
        """All nodes of the functions that a node calls, and those of what they call."""
        seen: set[str] = set()
        pending = list(called(node))
        while pending:
            name = pending.pop()
            if name in seen or name not in self.functions:
                continue
            seen.add(name)
            for inner in self.functions[name].node_def:
                yield inner
                pending.extend(called(inner))

    def operators(self, names: Iterable[str]) -> Iterator[str]:
        """The operators of nodes and of what they call."""
        for name in names:
            yield self.nodes[name].op
            for inner in self.bodies(self.nodes[name]):
                yield inner.op


def takes_type(node: Node, dtype: str) -> bool:
    """Whether an attribute of a node is that type, or a list with it."""
    number = NUMBERS[dtype]
    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "type" and attribute.type % 100 == number:
            return True
        if kind == "list" and any(each % 100 == number for each in attribute.list.type):
            return True
    return False


def _checks(nodes: Mapping[str, Node]) -> set[str]:
    """Assertions, and what waits for nothing else: they change no result."""
    found = {name for name, node in nodes.items() if node.op == "Assert"}
    waiting = {
        name: [node_of(each) for each in node.input]
        for name, node in nodes.items()
        if node.op == "NoOp"
    }
    grew = True
    while grew:
        more = {
            name
            for name, before in waiting.items()
            if name not in found and all(each in found for each in before)
        }
        grew = bool(more)
        found |= more
    return found


def _effects(nodes: Mapping[str, Node], functions: Mapping[str, Any]) -> set[str]:
    """Nodes that print, write or call out, and all that wait for one of them."""
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415 - with TensorFlow

    noisy: dict[str, bool] = {}

    def is_noisy(node: Node) -> bool:
        inner = [name for name in called(node) if name in functions]
        if inner:
            return any(_is_noisy_function(name) for name in inner)
        definition = op_def_registry.get(node.op)
        stateful = definition is not None and definition.is_stateful
        return stateful and not node.op.startswith(_SILENT) and node.op != "Assert"

    def _is_noisy_function(name: str) -> bool:
        if name not in noisy:
            noisy[name] = False
            noisy[name] = any(is_noisy(node) for node in functions[name].node_def)
        return noisy[name]

    return _with_followers(nodes, {name for name, node in nodes.items() if is_noisy(node)})


def _with_followers(nodes: Mapping[str, Node], found: set[str]) -> set[str]:
    """The nodes `found`, and all that wait for one of them."""
    after: dict[str, list[str]] = defaultdict(list)
    for name, node in nodes.items():
        for each in node.input:
            if each.startswith("^"):
                after[each[1:]].append(name)
    pending = list(found)
    while pending:
        for name in after[pending.pop()]:
            if name not in found:
                found.add(name)
                pending.append(name)
    return found
