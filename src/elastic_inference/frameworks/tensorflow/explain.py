"""What a plan does, in words: its segments, where each runs and why, and what crosses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from elastic_inference.frameworks.tensorflow.plan import Plan, Segment, Shape, Tensor

_MOST_OPERATORS = 8
_KIB, _MIB = 1024, 1024 * 1024
_ENGINES = {"onnx": "ONNX Runtime", "tensorflow": "TensorFlow"}


def describe(plan: Plan) -> dict[str, Any]:
    """The same as JSON: inputs, outputs and segments, with bytes for one call of the sample."""
    return {
        "inputs": {key: _tensor(each) for key, each in plan.inputs.items()},
        "outputs": {key: _tensor(each) for key, each in plan.outputs.items()},
        "method": plan.method,
        "segments": [
            {
                "place": segment.place,
                "engine": segment.engine,
                "nodes": sum(segment.operators.values()),
                "operators": dict(segment.operators),
                "reasons": list(segment.reasons),
                "inputs": [_tensor(each) for each in segment.inputs],
                "outputs": [_tensor(each) for each in segment.outputs],
                "crossing_bytes": segment.crossing,
            }
            for segment in plan.segments
        ],
        "largest_differences": dict(plan.proof),
        "made_with": dict(plan.made_with),
        "folder": str(plan.folder),
    }


def explain(plan: Plan) -> str:
    """Which parts of a model run where, why, and how much crosses, as a text of some lines."""
    lines = [
        f"inputs   {_listed(plan.inputs.items())}",
        f"outputs  {_listed(plan.outputs.items())}",
    ]
    if not plan.segments:
        lines.append("Nothing is computed: the outputs are inputs.")
    for number, segment in enumerate(plan.segments, 1):
        lines += ["", *_segment(number, segment)]
    if plan.is_remote and plan.segments:
        lines += ["", "Nothing runs on the instance, which needs no TensorFlow."]
    return "\n".join(lines)


def _segment(number: int, segment: Segment) -> list[str]:
    nodes = sum(segment.operators.values())
    crosses = f", {_size(segment.crossing)} cross per call" if segment.place != "instance" else ""
    lines = [
        f"{number}. on the {segment.place}, in {_ENGINES[segment.engine]}: {nodes} nodes{crosses}"
    ]
    frequent = sorted(segment.operators.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{name} x{count}" if count > 1 else name for name, count in frequent]
    more = len(shown) - _MOST_OPERATORS
    rest = f" and {more} other operators" if more > 0 else ""
    lines.append(f"   {', '.join(shown[:_MOST_OPERATORS])}{rest}")
    lines += [f"   because {reason}" for reason in segment.reasons]
    lines.append(f"   takes {_listed((each.name, each) for each in segment.inputs)}")
    lines.append(f"   gives {_listed((each.name, each) for each in segment.outputs)}")
    return lines


def _listed(tensors: Iterable[tuple[str, Tensor]]) -> str:
    listed = (f"{key}: {each.dtype}{_shape(each.shape)}" for key, each in tensors)
    return ", ".join(listed) or "nothing"


def _shape(shape: Shape) -> str:
    if shape is None:
        return "[...]"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape}


def _size(count: int) -> str:
    if count >= _MIB:
        return f"{count / _MIB:.1f} MiB"
    return f"{count / _KIB:.1f} KiB" if count >= _KIB else f"{count} bytes"
