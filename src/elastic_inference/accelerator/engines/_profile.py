"""ONNX Runtime's own record of a session's runs, added up per operator.

The record is a trace in Chrome's event format, one event a line: `dur` and `ts` in
microseconds. An event is written when it ends, so what ran inside it comes before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.engines._model import OnnxRuntimeModel
from elastic_inference.accelerator.engines.base import NodeTime
from elastic_inference.errors import InternalError

_KERNEL = "_kernel_time"
_MAX_NODES = 100_000
_NAME = 200


class ProfiledModel(OnnxRuntimeModel):
    """See `engines.base.ProfiledModel`."""

    def end(self) -> list[NodeTime]:
        with self._changing:
            if self._native is None:
                raise InternalError("The profile has ended already.")
            path = Path(self._native.end_profiling())
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                return add_up(lines)
        except (ValueError, KeyError, TypeError) as error:
            raise InternalError(f"The engine's profile cannot be read: {error!r}.") from error
        finally:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Sum:
    provider: str
    calls: int = 0
    microseconds: int = 0
    output_bytes: int = 0
    parameter_bytes: int = 0


def add_up(lines: Iterable[str]) -> list[NodeTime]:
    """Time per node over all runs but the first, which warms up.

    A node with a graph of its own (If, Loop, Scan) has its inner nodes' time taken off.
    """
    sums: dict[tuple[str, str], _Sum] = {}
    inside: dict[Any, list[tuple[int, int]]] = {}
    runs = 0
    for line in lines:
        event = _event(line)
        if event.get("cat") == "Session":
            if event["name"] == "model_run":
                runs += 1
                inside.clear()
        elif event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            own = _own_time(event, inside.setdefault(event.get("tid"), []))
            if runs:
                _add(sums, event, own)
    return [
        NodeTime(
            name, operator, each.provider, each.calls, each.microseconds * 1000,
            each.output_bytes, each.parameter_bytes,
        )
        for (name, operator), each in sums.items()
    ]  # fmt: skip


def _event(line: str) -> dict[str, Any]:
    text = line.strip().rstrip(",")
    if not text.startswith("{"):
        return {}
    event: dict[str, Any] = json.loads(text)
    return event


def _own_time(event: Mapping[str, Any], ended: list[tuple[int, int]]) -> int:
    """Its duration without the events inside it, which are the last of those that `ended`."""
    begin, own = int(event["ts"]), int(event["dur"])
    while ended and ended[-1][0] >= begin:
        own -= ended.pop()[1]
    ended.append((begin, int(event["dur"])))
    if len(ended) > _MAX_NODES:
        # Nothing that ran before so many others encloses what comes now.
        del ended[: _MAX_NODES // 2]
    return max(0, own)


def _add(sums: dict[tuple[str, str], _Sum], event: Mapping[str, Any], own: int) -> None:
    arguments = event["args"]
    key = (event["name"].removesuffix(_KERNEL)[:_NAME], str(arguments.get("op_name", ""))[:_NAME])
    total = sums.get(key)
    if total is None:
        if len(sums) >= _MAX_NODES:
            return
        total = sums[key] = _Sum(str(arguments.get("provider", "")))
    total.calls += 1
    total.microseconds += own
    total.output_bytes = max(total.output_bytes, int(arguments.get("output_size", 0)))
    total.parameter_bytes = max(total.parameter_bytes, int(arguments.get("parameter_size", 0)))
