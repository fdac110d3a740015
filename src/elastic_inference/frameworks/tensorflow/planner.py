"""A source's plan: freeze, divide, convert, prove, and write what came out of it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from elastic_inference.frameworks.tensorflow.anyshape import forget_shapes
from elastic_inference.frameworks.tensorflow.assets import FOLDER, name_assets
from elastic_inference.frameworks.tensorflow.convert import ConversionError, convert, prove, write
from elastic_inference.frameworks.tensorflow.freeze import load
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.local import import_tensorflow
from elastic_inference.frameworks.tensorflow.partition import Part, divide
from elastic_inference.frameworks.tensorflow.placement import (
    Home,
    Placed,
    convertible,
    is_suspect,
    place,
)
from elastic_inference.frameworks.tensorflow.plan import (
    ACCELERATOR,
    INSTANCE,
    ONNX,
    TENSORFLOW,
    Plan,
    Segment,
    Tensor,
)
from elastic_inference.frameworks.tensorflow.proof import Truth
from elastic_inference.frameworks.tensorflow.segments import Extract, extract
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.frameworks.tensorflow.units import Units
from elastic_inference.protocol.tensors import Array

_PLACES = {
    Home.ONNX: (ACCELERATOR, ONNX),
    Home.TENSORFLOW: (ACCELERATOR, TENSORFLOW),
    Home.INSTANCE: (INSTANCE, TENSORFLOW),
}
_MOST_REASONS = 8

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Made:
    """A part whose file is written.

    Attributes:
        differences: to TensorFlow, by output.
        crossing: bytes that go in and out with the first sample; 0 where there is none.
    """

    part: Part
    extract: Extract
    file: str
    differences: Mapping[str, float]
    crossing: int


class Planner:
    """Makes one plan in `folder`, which will later be `final`."""

    def __init__(self, source: Source, folder: Path, final: Path, report: Report) -> None:
        self._source = source
        self._folder = folder
        self._final = final
        self._report = report
        self._onnx: dict[tuple[str, ...], _Made | ConversionError] = {}

    def make(self, made_with: Mapping[str, str]) -> Plan:
        """Make it, and write its document.

        Raises:
            ElasticInferenceError: what `freeze.load` raises.
        """
        self._report("load the model")
        frozen = load(self._source)
        tf = import_tensorflow()
        graph = Graph(tf, frozen)
        self._report("run it in TensorFlow")
        truth = Truth(tf, graph)
        try:
            made, placed = self._settle(graph, truth)
            any_shape = (
                len(made) == 1
                and made[0].part.home is Home.ONNX
                and forget_shapes(tf, graph, made[0].part, self._folder / made[0].file)
            )
            segments = tuple(self._segment(graph, each, placed) for each in made)
        finally:
            truth.close()
        self._copy_assets(frozen.assets)
        differences = {name: value for each in made for name, value in each.differences.items()}
        plan = Plan(
            self._folder,
            {key: _whole(graph, name) for key, name in frozen.inputs.items()},
            {key: _whole(graph, name) for key, name in frozen.outputs.items()},
            frozen.method,
            segments,
            any_shape,
            proof={
                key: differences[name]
                for key, name in frozen.outputs.items()
                if name in differences
            },
            made_with=made_with,
        )
        plan.write()
        return plan

    def _settle(self, graph: Graph, truth: Truth) -> tuple[list[_Made], dict[str, Placed]]:
        """Divide until all that is to be ONNX was proved as ONNX."""
        placed = place(graph, convertible())
        while True:
            units = Units(graph, placed)
            parts = divide(graph, units, placed)
            made, failed = [], False
            for number, part in enumerate(parts):
                self._report(f"convert part {number + 1} of {len(parts)}")
                try:
                    made.append(self._make(graph, truth, part))
                except ConversionError as error:
                    _demote(graph, units, part, placed, str(error))
                    failed = True
            if not failed:
                return made, placed

    def _make(self, graph: Graph, truth: Truth, part: Part) -> _Made:
        if part.home is Home.ONNX:
            key = tuple(sorted(part.own))
            if key not in self._onnx:
                self._onnx[key] = self._convert(graph, truth, part)
            found = self._onnx[key]
            if isinstance(found, ConversionError):
                raise found
            return found
        values = truth.values(part.inputs, part.outputs)
        return _Made(part, extract(graph, part), "", {}, _crossing(part, values))

    def _convert(self, graph: Graph, truth: Truth, part: Part) -> _Made | ConversionError:
        values = truth.values(part.inputs, part.outputs)
        if not values:
            return ConversionError(f"no sample makes TensorFlow run it: {truth.reason}")
        # What TensorFlow does not know of a table's results, say, the samples show.
        ranks = {name: value.ndim for name, value in values[0].items()}
        alone = extract(graph, part, ranks)
        file = f"{len(self._onnx)}.onnx"
        path = self._folder / file
        try:
            write(convert(alone), path)
            differences = prove(path, alone, values)
        except ConversionError as error:
            for left in self._folder.glob(f"{file}*"):
                left.unlink()
            return error
        return _Made(part, alone, file, differences, _crossing(part, values))

    def _segment(self, graph: Graph, made: _Made, placed: Mapping[str, Placed]) -> Segment:
        home = made.part.home
        location, engine = _PLACES[home]
        file = made.file
        if home is not Home.ONNX:
            file = f"{len(list(self._folder.glob('*.pb')))}.pb"
            self._write_graph(graph, made.extract, self._folder / file)
        return Segment(
            location,
            engine,
            file,
            made.extract.inputs,
            made.extract.outputs,
            made.extract.initializer,
            dict(sorted(Counter(graph.nodes[name].op for name in made.part.own).items())),
            _reasons(made.part, placed),
            made.crossing,
        )

    def _write_graph(self, graph: Graph, alone: Extract, path: Path) -> None:
        kept = {
            node: str(self._final / FOLDER / Path(file).name)
            for node, file in graph.frozen.assets.items()
        }
        name_assets(alone.definition, kept)
        path.write_bytes(alone.definition.SerializeToString())

    def _copy_assets(self, assets: Mapping[str, str]) -> None:
        for file in assets.values():
            (self._folder / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(file, self._folder / FOLDER / Path(file).name)


def _whole(graph: Graph, name: str) -> Tensor:
    return Tensor(name, graph.dtype(name), graph.shape(name))


def _crossing(part: Part, values: Sequence[Mapping[str, Array]]) -> int:
    if not values:
        return 0
    return sum(_size(values[0][name]) for name in (*part.inputs, *part.outputs))


def _size(value: Array) -> int:
    if value.dtype == object:
        return sum(len(each) for each in value.reshape(-1))
    return value.nbytes


def _demote(graph: Graph, units: Units, part: Part, placed: dict[str, Placed], reason: str) -> None:
    """Take what is suspected out of a part that failed, or the whole part."""
    own = {units.unit_of[name] for name in part.own}
    suspects = {unit for unit in own if is_suspect(graph, units.members[unit])}
    for unit in suspects if suspects and suspects != own else own:
        nodes = units.members[unit]
        home = Home.TENSORFLOW if all(placed[n].allowed for n in nodes) else Home.INSTANCE
        for name in nodes:
            placed[name] = replace(placed[name], home=home, reason=reason)


def _reasons(part: Part, placed: Mapping[str, Placed]) -> tuple[str, ...]:
    """Why a part is where it is, most frequent first."""
    if part.home is Home.ONNX:
        return ("it converts to ONNX, and gives TensorFlow's results",)
    counted = Counter(placed[name].reason for name in part.own if placed[name].reason)
    reasons = [reason for reason, _ in counted.most_common(_MOST_REASONS)]
    if any(placed[name].home < part.home for name in part.own):
        reasons.append("the rest of it is here since less crosses then")
    return tuple(reasons)
