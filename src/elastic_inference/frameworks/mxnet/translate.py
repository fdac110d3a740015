"""From a graph of MXNet to segments: ONNX for the accelerator, numpy for the instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.frameworks.mxnet import table
from elastic_inference.frameworks.mxnet.attributes import Attributes
from elastic_inference.frameworks.mxnet.builder import Builder, Files, Tensor
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.errors import mxnet_error
from elastic_inference.frameworks.mxnet.graph import Entry, Graph, Node, output_name
from elastic_inference.frameworks.mxnet.infer import infer_shapes, infer_types
from elastic_inference.frameworks.mxnet.rules import Shape, is_known
from elastic_inference.frameworks.mxnet.table import NumpyFunction
from elastic_inference.protocol.tensors import Array

_ACCELERATOR, _INSTANCE = 0, 1


@dataclass(frozen=True, slots=True)
class OnnxSegment:
    """A part of the graph for the accelerator.

    Attributes:
        files: of the model, by name: its graph as `model.onnx`, and external data, which may
            be a `.params` file itself, by path. What the client takes as a model.
        inputs, outputs: named as in the ONNX graph.
        operators: how many of each operator of MXNet.
    """

    files: Files
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """An operator that the instance computes."""

    operator: str
    node: str
    function: NumpyFunction
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class NumpySegment:
    """A part of the graph for the instance."""

    steps: tuple[Step, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs, by name; `values` holds at least the inputs."""
        known = dict(values)
        for step in self.steps:
            made = step.function(step.attributes, *(known[name] for name in step.inputs))
            results = made if isinstance(made, tuple) else (made,)
            for tensor, result in zip(step.outputs, results, strict=False):
                known[tensor.name] = np.asarray(result, tensor.dtype)
        return {each.name: known[each.name] for each in self.outputs}


Segment: TypeAlias = OnnxSegment | NumpySegment


@dataclass(frozen=True, slots=True)
class Translation:
    """A graph for inputs of one set of shapes, ready to run.

    To run it, run the segments in order, each with the values that it wants of: the caller's
    inputs, `constants`, and the outputs of segments before.

    Attributes:
        segments: in the order in which they run.
        inputs: those of the caller's that any segment needs, named as their variables.
        outputs: one for each head: `name` is that of the value, which several heads may share.
        names: of the heads, as MXNet has them.
        constants: arrays that segments on the instance or the caller get as they are.
    """

    segments: tuple[Segment, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    names: tuple[str, ...]
    constants: Mapping[str, Array]


def translate(
    graph: Graph,
    params: Mapping[str, Array],
    inputs: Mapping[str, tuple[Sequence[int], Any]],
) -> Translation:
    """Translate a graph.

    Args:
        params: weights and auxiliary states by name; they become constants of the models.
        inputs: shape and dtype of what each call brings. A variable that is in neither and
            that a result depends on is an error.

    Raises:
        MXNetError: shapes do not fit, or something cannot be run: it names operator and node.
    """
    return _Translator(graph, params, inputs).run()


class _Translator:
    def __init__(
        self,
        graph: Graph,
        params: Mapping[str, Array],
        inputs: Mapping[str, tuple[Sequence[int], Any]],
    ) -> None:
        self._graph = graph
        self._params = params
        self._given = inputs
        shapes: dict[str, Shape | None] = {name: each.shape for name, each in params.items()}
        dtypes: dict[str, Any] = {name: each.dtype for name, each in params.items()}
        for name, (shape, dtype) in inputs.items():
            shapes[name], dtypes[name] = tuple(int(size) for size in shape), dtype
        self._shapes = infer_shapes(graph, shapes)
        self._dtypes = infer_types(graph, dtypes)
        self._nodes = self._shapes.nodes
        self._names: set[str] = set()
        self._values: dict[Entry, Tensor] = {}
        self._inputs: dict[str, Tensor] = {}
        self._constants: dict[str, Array] = {}
        self._missing: dict[str, Node] = {}

    def run(self) -> Translation:
        stages = self._stages()
        parts: list[_Onnx | _Numpy] = []
        for stage in range(max(stages.values(), default=_ACCELERATOR) + 1):
            nodes = [node for node in self._nodes if stages.get(node) == stage]
            if nodes:
                parts.append(self._part(stage % 2, nodes))
        outputs = tuple(self._value(entry, entry[0]) for entry in self._graph.heads)
        segments = self._finish(parts, {each.name for each in outputs})
        read = {each.name for segment in segments for each in segment.inputs}
        read |= {each.name for each in outputs}
        return Translation(
            segments=segments,
            inputs=tuple(each for name, each in self._inputs.items() if name in read),
            outputs=outputs,
            names=tuple(output_name(entry) for entry in self._graph.heads),
            constants={name: each for name, each in self._constants.items() if name in read},
        )

    def _value(self, entry: Entry, user: Node) -> Tensor:
        """The value that `user` takes."""
        node, _ = entry
        if entry not in self._values:
            # Only variables have none yet.
            tensor = Tensor(self._fresh(node.name), *self._known(entry, user))
            if node.name in self._params:
                self._constants[tensor.name] = self._params[node.name]
            elif node.name in self._given:
                self._inputs[tensor.name] = tensor
            else:
                self._missing[tensor.name] = node
            self._values[entry] = tensor
        return self._values[entry]

    def _fresh(self, wanted: str) -> str:
        return Builder(self._names).fresh(wanted)

    def _known(
        self, entry: Entry, user: Node, *, lenient: bool = False
    ) -> tuple[Shape, np.dtype[Any]]:
        shape, dtype = self._shapes.of(entry), self._dtypes.of(entry)
        if shape is None or dtype is None or not (lenient or is_known(shape)):
            name = output_name(entry)
            raise table.unsupported(user, f"the shape of {name} cannot be inferred")
        return shape, dtype

    def _stages(self) -> dict[Node, int]:
        """Where each node runs: even stages on the accelerator, odd ones on the instance."""
        stages: dict[Node, int] = {}
        for node in self._nodes:
            if node.is_variable:
                continue
            found = table.of_node(node)
            if found.onnx is None and found.numpy is None:
                raise table.unsupported(node, "it has no translation")
            place = stage = self._place(node, found)
            for source, _ in node.inputs:
                before = stages.get(source, place)
                stage = max(stage, before if before % 2 == place else before + 1)
            stages[node] = stage
        return stages

    def _place(self, node: Node, found: table.Operator) -> int:
        if found.onnx is None:
            return _INSTANCE
        if found.here is None:
            return _ACCELERATOR
        known = [self._known(entry, node) for entry in node.inputs]
        shapes, dtypes = [shape for shape, _ in known], [kind for _, kind in known]
        return _INSTANCE if found.here(table.parsed(node), shapes, dtypes) else _ACCELERATOR

    def _part(self, place: int, nodes: list[Node]) -> _Onnx | _Numpy:
        part = _Onnx(self._names) if place == _ACCELERATOR else _Numpy(self._names)
        for node in nodes:
            inputs = [self._value(entry, node) for entry in node.inputs]
            count = table.of_node(node).outputs(table.parsed(node))
            # The instance also runs what tells its sizes only when it has run.
            lenient = isinstance(part, _Numpy)
            outputs = [self._known((node, i), node, lenient=lenient) for i in range(count)]
            for tensor in inputs:
                if tensor.name in self._constants:
                    part.constants[tensor.name] = self._constants[tensor.name]
            for index, tensor in enumerate(part.add(node, inputs, outputs)):
                self._values[node, index] = tensor
        self._constants.update(part.constants)
        return part

    def _finish(self, parts: Sequence[_Onnx | _Numpy], wanted: set[str]) -> tuple[Segment, ...]:
        """The segments, without what nothing needs."""
        finished: list[Segment] = []
        tensors = {each.name: each for each in self._values.values()}
        for part in reversed(parts):
            outputs = [tensors[name] for name in part.made if name in wanted]
            if not outputs:
                continue
            read = part.needed({each.name for each in outputs})
            inputs = [tensors[name] for name in tensors if name in read and name not in part.made]
            inputs = [each for each in inputs if part.takes(each.name)]
            for tensor in inputs:
                if tensor.name in self._missing:
                    raise self._lacking(self._missing[tensor.name])
            wanted |= {each.name for each in inputs}
            finished.append(part.segment(inputs, outputs))
        return tuple(finished[::-1])

    def _lacking(self, variable: Node) -> Exception:
        return mxnet_error(
            "src/executor/graph_executor.cc:1",
            f"The argument {variable.name} has no value: give it as a parameter or as an input",
        )


class _Onnx:
    """An ONNX segment in the making.

    Attributes:
        constants: arrays by the names of values.
        made: names of results that nodes of MXNet have here, in order.
    """

    def __init__(self, names: set[str]) -> None:
        self._builder = Builder(names)
        self.constants: dict[str, Array] = {}
        self.made: dict[str, None] = {}
        self._operators: list[str] = []

    def add(
        self,
        node: Node,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[Shape, np.dtype[Any]]],
    ) -> list[Tensor]:
        found = table.of_node(node)
        for tensor in inputs:
            if not is_known(tensor.shape):
                raise table.unsupported(node, f"the shape of {tensor.name} depends on values")
            if tensor.name in self.constants:
                self._builder.weight(tensor.name, self.constants[tensor.name])
        emit = Emit(
            self._builder,
            node,
            table.parsed(node),
            [each.name for each in inputs],
            [(each.shape, each.dtype) for each in inputs],
            outputs,
        )
        assert found.onnx is not None  # noqa: S101 - it would be in another stage
        made = found.onnx(emit)
        self._operators.append(node.operator)
        names = [made] if isinstance(made, str) else list(made)
        known = {each.name for each in inputs}
        for name in names:
            array = self._builder.content(name)
            if array is not None:
                self.constants[name] = array
            elif name not in known:
                self.made[name] = None
        return [
            Tensor(name, shape, dtype) for name, (shape, dtype) in zip(names, outputs, strict=False)
        ]

    def needed(self, wanted: set[str]) -> set[str]:
        return self._builder.needed(wanted)

    def takes(self, name: str) -> bool:
        """Whether the caller must give the value."""
        return name not in self.constants

    def segment(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> OnnxSegment:
        return OnnxSegment(
            self._builder.files(inputs, outputs),
            tuple(inputs),
            tuple(outputs),
            dict(Counter(self._operators)),
        )


class _Numpy:
    """A segment for the instance in the making; attributes as of `_Onnx`."""

    def __init__(self, names: set[str]) -> None:
        self._builder = Builder(names)
        self.constants: dict[str, Array] = {}
        self.made: dict[str, None] = {}
        self._steps: list[Step] = []

    def add(
        self,
        node: Node,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[Shape, np.dtype[Any]]],
    ) -> list[Tensor]:
        found = table.of_node(node)
        tensors = [
            Tensor(self._builder.fresh(output_name((node, index))), shape, dtype)
            for index, (shape, dtype) in enumerate(outputs)
        ]
        assert found.numpy is not None  # noqa: S101 - it would be in another stage
        self._steps.append(
            Step(
                node.operator,
                node.name,
                found.numpy,
                table.parsed(node),
                tuple(each.name for each in inputs),
                tuple(tensors),
            )
        )
        self.made.update(dict.fromkeys(each.name for each in tensors))
        return tensors

    def needed(self, wanted: set[str]) -> set[str]:
        read, kept = set(wanted), []
        for step in reversed(self._steps):
            if any(each.name in read for each in step.outputs):
                kept.append(step)
                read.update(step.inputs)
        self._steps = kept[::-1]
        return read

    def takes(self, name: str) -> bool:  # noqa: ARG002 - as of `_Onnx`
        return True

    def segment(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> NumpySegment:
        return NumpySegment(tuple(self._steps), tuple(inputs), tuple(outputs))
