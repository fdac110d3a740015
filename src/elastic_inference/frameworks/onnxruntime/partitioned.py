"""A model that runs partly on the accelerator and partly here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from onnx import inliner, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.graph import Graph, every_node, subgraphs
from elastic_inference.frameworks.onnxruntime.partition import Segment, divide
from elastic_inference.frameworks.onnxruntime.runners import Runner, check_names
from elastic_inference.frameworks.onnxruntime.values import (
    ELEMENT_TYPES,
    ModelMetadata,
    type_text,
)
from elastic_inference.protocol.tensors import TensorSpec

# Before this version of the format every initializer was an input, and none could be replaced.
_OVERRIDABLE_SINCE = 4

Load = Callable[[bytes], Runner]
"""Makes a runner of a segment's model."""


@dataclass(frozen=True, slots=True)
class Support:
    """What the accelerator runs.

    Attributes:
        domains: newest version of each operator-set domain.
        operators: (domain, operator) pairs it knows in those domains, or None to trust the
            domains alone.
    """

    domains: Mapping[str, int]
    operators: frozenset[tuple[str, str]] | None = None

    def runs(self, node: Any, imported: Mapping[str, int], functions: frozenset[Any]) -> bool:
        """Whether it can run one node, its subgraphs aside."""
        if (node.domain, node.op_type) in functions:
            return True
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = imported.get(domain, imported.get(node.domain, 1))
        if version > self.domains.get(domain, -1):
            return False
        return self.operators is None or (domain, node.op_type) in self.operators


def parse(source: bytes | str) -> onnx.ModelProto:
    """The model without its external weights.

    Raises:
        ModelFormatError: it is not an ONNX model.
    """
    try:
        if isinstance(source, bytes):
            return onnx.load_from_string(source)
        return onnx.load(source, load_external_data=False)
    except Exception as error:
        raise ModelFormatError(f"The model cannot be parsed: {error}") from error


def plan(model: onnx.ModelProto, support: Support) -> tuple[onnx.ModelProto, list[Segment]]:
    """The model (its functions inlined if they must be cut) and its segments."""
    imported = {opset.domain: opset.version for opset in model.opset_import}
    functions = {(item.domain, item.name): item for item in model.functions}
    broken = any(
        not support.runs(node, imported, frozenset(functions))
        for function in model.functions
        for node in every_node(function.node)
    )
    if broken:
        model = inliner.inline_local_functions(model)
        imported = {opset.domain: opset.version for opset in model.opset_import}
        functions = {}
    known = frozenset(functions)

    def supported(node: Any) -> bool:
        inner = (each for graph in subgraphs(node) for each in every_node(graph.node))
        return all(support.runs(each, imported, known) for each in (node, *inner))

    return model, divide(Graph(model), supported)


class PartitionedModel:
    """Runs the segments of a model in order.

    Args:
        model: the whole model, external weights not loaded.
        segments: as `plan` gave them.
        load_remote: loads a segment on the accelerator.
        load_local: loads a segment here.
        directory: where the model's external data lies, or None.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        segments: Sequence[Segment],
        *,
        load_remote: Load,
        load_local: Load,
        directory: Path | None,
    ) -> None:
        graph = Graph(model)
        self.segments = tuple(segments)
        self._types = {name: value.type for name, value in graph.inputs.items()}
        self._runners: list[Runner] = []
        try:
            for segment in segments:
                piece = extract(model, graph, segment, self._types)
                if not segment.remote and directory is not None:
                    _read_weights(piece, directory)
                load = load_remote if segment.remote else load_local
                runner = load(piece.SerializeToString())
                self._runners.append(runner)
                for spec in runner.outputs:
                    self._types[spec.name] = to_type(spec)
        except BaseException:
            self.close()
            raise
        self.metadata = _metadata(model)
        self.providers = _providers(self._runners)
        self._overridable = {name for name in graph.inputs if name in graph.initializers}
        self.inputs = tuple(
            _value_spec(value)
            for name, value in graph.inputs.items()
            if name not in self._overridable
        )
        self.outputs = tuple(self._output_spec(graph, name) for name in graph.results)
        self._known = {name: _value_spec(value) for name, value in graph.inputs.items()}
        self._constants = {
            name: numpy_helper.to_array(graph.initializers[name])
            for name in graph.results
            if name in graph.initializers
        }
        self._last_use = self._last_uses()

    def _output_spec(self, graph: Graph, name: str) -> TensorSpec:
        declared = graph.results[name]
        if declared.type.WhichOneof("value") is not None:
            return _value_spec(declared)
        return _value_spec(onnx.ValueInfoProto(name=name, type=self._types[name]))

    def _last_uses(self) -> list[list[str]]:
        """For each segment the values that nobody needs after it."""
        kept = {spec.name for spec in self.outputs}
        last: dict[str, int] = {}
        for index, segment in enumerate(self.segments):
            for name in (*segment.inputs, *segment.outputs):
                last[name] = index
        drops: list[list[str]] = [[] for _ in self.segments]
        for name, index in last.items():
            if name not in kept:
                drops[index].append(name)
        return drops

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        names = check_names(self.inputs, self.outputs, outputs, feeds, self._known)
        values = {**self._constants, **feeds}
        for segment, runner, drops in zip(
            self.segments, self._runners, self._last_use, strict=True
        ):
            given = {name: values[name] for name in segment.inputs if name in values}
            results = runner.run(segment.outputs, given)
            values.update(zip(segment.outputs, results, strict=True))
            for name in drops:
                values.pop(name, None)
        return [values[name] for name in names]

    def close(self) -> None:
        for runner in self._runners:
            runner.close()


def extract(
    model: onnx.ModelProto, graph: Graph, segment: Segment, types: Mapping[str, Any]
) -> onnx.ModelProto:
    """A segment as a model of its own.

    Args:
        model: the whole model.
        graph: its graph.
        segment: the piece.
        types: the type of every value that crosses into it.
    """
    piece = onnx.ModelProto(ir_version=model.ir_version)
    piece.graph.name = model.graph.name or "segment"
    nodes = [graph.nodes[index] for index in segment.nodes]
    piece.graph.node.extend(nodes)
    names = dict.fromkeys(name for index in segment.nodes for name in graph.node_inputs[index])
    for name in segment.inputs:
        piece.graph.input.append(onnx.ValueInfoProto(name=name, type=types[name]))
    for name in names:
        if name in graph.initializers:
            piece.graph.initializer.append(graph.initializers[name])
        elif name in graph.sparse_initializers:
            piece.graph.sparse_initializer.append(graph.sparse_initializers[name])
    for name in segment.outputs:
        declared = graph.results.get(name)
        piece.graph.output.append(declared or onnx.ValueInfoProto(name=name))
    inside = {name for node in nodes for name in node.output} - set(segment.outputs)
    piece.graph.value_info.extend(value for value in model.graph.value_info if value.name in inside)
    piece.functions.extend(_functions(model, nodes))
    used = {node.domain for node in every_node(nodes)} | {""}
    for function in piece.functions:
        used.update(opset.domain for opset in function.opset_import)
    piece.opset_import.extend(opset for opset in model.opset_import if opset.domain in used)
    return piece


def _functions(model: onnx.ModelProto, nodes: Sequence[Any]) -> list[Any]:
    """The model's functions that these nodes call, directly or through others."""
    by_name = {(item.domain, item.name, item.overload): item for item in model.functions}
    found: dict[tuple[str, str, str], Any] = {}
    waiting = list(every_node(nodes))
    while waiting:
        node = waiting.pop()
        key = (node.domain, node.op_type, node.overload)
        if key in by_name and key not in found:
            found[key] = by_name[key]
            waiting.extend(every_node(by_name[key].node))
    return list(found.values())


def _read_weights(piece: onnx.ModelProto, directory: Path) -> None:
    for tensor in piece.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            load_external_data_for_tensor(tensor, str(directory))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def external_files(model: onnx.ModelProto, directory: Path) -> dict[str, Path]:
    """The files below `directory` in which the model's weights lie, by their names in it."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((item.value for item in tensor.external_data if item.key == "location"), "")
        pure = PurePosixPath(location)
        if location and not pure.is_absolute() and ".." not in pure.parts:
            path = directory / pure
            if path.is_file():
                found[str(pure)] = path
    return found


def to_type(spec: TensorSpec) -> Any:
    """`spec` as an onnx.TypeProto."""
    made = onnx.TypeProto()
    if spec.datatype == "SEQUENCE" and spec.element:
        made.sequence_type.elem_type.CopyFrom(to_type(spec.element))
    elif spec.datatype == "OPTIONAL" and spec.element:
        made.optional_type.elem_type.CopyFrom(to_type(spec.element))
    elif spec.datatype == "MAP" and spec.element:
        key = type_text(spec).removeprefix("map(").partition(",")[0]
        numbers = dict(ELEMENT_TYPES.values())
        made.map_type.key_type = numbers[key]
        made.map_type.value_type.CopyFrom(to_type(spec.element))
    else:
        made.tensor_type.elem_type = ELEMENT_TYPES[spec.datatype][1]
        if spec.shape is not None:
            made.tensor_type.shape.SetInParent()
            for size in spec.shape:
                dim = made.tensor_type.shape.dim.add()
                if size >= 0:
                    dim.dim_value = size
    return made


def _value_spec(value: Any) -> TensorSpec:
    spec = _type_spec(value.type)
    return TensorSpec(value.name, spec.datatype, spec.shape, spec.symbols, spec.element)


def _type_spec(kind: Any) -> TensorSpec:
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return TensorSpec("", "SEQUENCE", None, (), _type_spec(kind.sequence_type.elem_type))
    if which == "optional_type":
        return TensorSpec("", "OPTIONAL", None, (), _type_spec(kind.optional_type.elem_type))
    texts = {number: text for text, number in ELEMENT_TYPES.values()}
    if which == "map_type":
        key = texts[kind.map_type.key_type]
        return TensorSpec("", "MAP", None, (key,), _type_spec(kind.map_type.value_type))
    if which != "tensor_type":
        raise ModelFormatError("An input or output of the model has no type.")
    datatype = next(
        name for name, (_, number) in ELEMENT_TYPES.items() if number == kind.tensor_type.elem_type
    )
    if not kind.tensor_type.HasField("shape"):
        return TensorSpec("", datatype, None)
    dims = kind.tensor_type.shape.dim
    return TensorSpec(
        "",
        datatype,
        tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims),
        tuple(dim.dim_param or None for dim in dims),
    )


def _metadata(model: onnx.ModelProto) -> ModelMetadata:
    return ModelMetadata(
        producer_name=model.producer_name,
        graph_name=model.graph.name,
        domain=model.domain,
        description=model.doc_string,
        graph_description=model.graph.doc_string,
        version=model.model_version,
        custom_metadata_map={item.key: item.value for item in model.metadata_props},
    )


def _providers(runners: Sequence[Runner]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for runner in runners for name in runner.providers))


def known_operators() -> frozenset[tuple[str, str]]:
    """The (domain, operator) pairs of ONNX Runtime itself, without custom libraries."""
    return frozenset(
        (schema.domain, schema.name) for schema in real.state.get_all_operator_schema()
    )


def overridable_initializers(source: bytes | str) -> list[TensorSpec]:
    """Weights that a caller may replace: those that are inputs of the graph as well."""
    model = parse(source)
    if model.ir_version < _OVERRIDABLE_SINCE:
        return []
    names = {tensor.name for tensor in model.graph.initializer}
    return [_value_spec(value) for value in model.graph.input if value.name in names]
