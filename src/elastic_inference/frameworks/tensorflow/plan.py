"""How a TensorFlow model runs: its segments, in order, and what crosses between them.

A plan is made once for a model and a signature, by `prepare`, and lies in a folder of its own
with the segments' files. It needs no TensorFlow to be read, nor to be run where no segment is
for the instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from elastic_inference.errors import ModelFormatError

FORMAT = 1
DOCUMENT = "plan.json"
ACCELERATOR, INSTANCE = "accelerator", "instance"
ONNX, TENSORFLOW = "onnx", "tensorflow"

Shape: TypeAlias = tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a signature, or one that crosses between segments.

    Attributes:
        name: in the model's graph, as `image_tensor:0`. Within a plan it names one value.
        dtype: TensorFlow's name, as `float32` or `string`.
        shape: None for sizes that are not fixed, and in place of all where the rank is not.
        port: its name as an input or output of the segment's file.
    """

    name: str
    dtype: str
    shape: Shape
    port: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the graph that runs in one place.

    Attributes:
        place: `accelerator` or `instance`.
        engine: `onnx` or `tensorflow`.
        file: in the plan's folder: an ONNX model, or a frozen GraphDef.
        inputs, outputs: what it takes and gives.
        initializer: operation of the GraphDef to run once before anything else, or "".
        operators: how many of each TensorFlow operator.
        reasons: why it is where it is, in words for a user.
        crossing: bytes that come in and go out with one call of the sample.
    """

    place: str
    engine: str
    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    initializer: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    crossing: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A model's signature, ready to run.

    Attributes:
        folder: holds the segments' files.
        inputs, outputs: by the signature's keys. An output may be an input's own tensor.
        method: the signature's method name, as `tensorflow/serving/predict`.
        segments: in the order in which they run.
        any_shape: feeds of other shapes than the inputs' were shown to work too: then inputs of
            ONNX models declare no shape.
        proof: by output key, the largest difference to TensorFlow on the sample.
        made_with: versions by package.
    """

    folder: Path
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    method: str
    segments: tuple[Segment, ...]
    any_shape: bool = False
    proof: Mapping[str, float] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_remote(self) -> bool:
        """Whether nothing of it runs on the instance."""
        return all(segment.place == ACCELERATOR for segment in self.segments)

    def write(self) -> None:
        """Write the plan's document into its folder."""
        document = asdict(self)
        del document["folder"]
        text = json.dumps({"format": FORMAT, **document}, indent=1)
        (self.folder / DOCUMENT).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Plan:
    """The plan in `folder`.

    Raises:
        FileNotFoundError: there is none.
        ModelFormatError: it was not written by this version, or is damaged.
    """
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise ValueError("another version made it")
        plan = Plan(
            folder=folder,
            inputs=_by_key(document.pop("inputs")),
            outputs=_by_key(document.pop("outputs")),
            segments=tuple(_segment(each) for each in document.pop("segments")),
            **document,
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(f"The plan in {folder} cannot be read: {error}.") from error
    for segment in plan.segments:
        if not (folder / segment.file).is_file():
            raise ModelFormatError(f"The plan in {folder} lacks its file {segment.file}.")
    return plan


def _by_key(document: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: _tensor(each) for key, each in document.items()}


def _tensor(document: Mapping[str, Any]) -> Tensor:
    shape = document["shape"]
    return Tensor(
        document["name"],
        document["dtype"],
        None if shape is None else tuple(shape),
        document["port"],
    )


def _segment(document: Mapping[str, Any]) -> Segment:
    return Segment(
        **{
            **document,
            "inputs": tuple(_tensor(each) for each in document["inputs"]),
            "outputs": tuple(_tensor(each) for each in document["outputs"]),
            "reasons": tuple(document["reasons"]),
        }
    )
