"""What `ei run` says at the end: where time went, memory, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.cli.output import mebibytes, seconds

Document = Mapping[str, Any]


def nothing_came(visible: str | None, status: int) -> str:
    """The warning that no inference reached an accelerator, with its likely cause.

    Args:
        visible: EI_VISIBLE_DEVICES, or None where it is not set.
        status: the command's exit status.
    """
    if visible is not None and not visible.strip():
        why = "EI_VISIBLE_DEVICES is empty, so the command ran without one."
    elif status:
        why = f"The command ended with exit status {status} before one."
    else:
        why = (
            "The command must use onnxruntime from a Python environment where elastic-inference"
            " is installed."
        )
    return f"ei: warning: no inference reached the accelerator. {why}"


def requests(accelerators: Sequence[Document]) -> int:
    """Inferences that reached any of the accelerators."""
    return sum(each.get("usage", {}).get("requests", 0) for each in accelerators)


def lines(accelerators: Sequence[Document], prices: Mapping[str, float], elapsed: float) -> str:
    """The summary, some lines for each accelerator.

    Args:
        accelerators: as DescribeAccelerators gives them.
        prices: US dollars per hour by type.
        elapsed: seconds since the instance runs.
    """
    return "\n".join(_summary(each, prices, elapsed) for each in accelerators)


def _summary(accelerator: Document, prices: Mapping[str, float], elapsed: float) -> str:
    cost = prices.get(accelerator["acceleratorType"], 0.0) * elapsed / 3600
    what = f"{accelerator['acceleratorType']}, {accelerator['device']}"
    text = [
        f"ei: {accelerator['acceleratorId']} ({what})",
        f"ei:   {_time(accelerator.get('usage'))}",
        f"ei:   memory {_memory(accelerator)}; {elapsed:.1f} s so far cost ${cost:.6f}",
    ]
    if accelerator["restarts"]:
        text.append(f"ei:   it was started again {accelerator['restarts']} time(s)")
    return "\n".join(text)


def _time(usage: Document | None) -> str:
    if not usage:
        return "what it did is not known: it does not answer"
    compute, transfer = usage["compute_ns"], usage["receive_ns"] + usage["send_ns"]
    count = usage["requests"]
    text = f"{count} inference{'' if count == 1 else 's'}"
    if usage.get("failures"):
        text += f", {usage['failures']} failed"
    text += f"; time: compute {seconds(compute)}, transfer {seconds(transfer)}"
    if usage.get("client_calls"):
        overhead = max(0, usage["client_wall_ns"] - compute - transfer)
        text += f", overhead {seconds(overhead)}"
    return text


def _memory(accelerator: Document) -> str:
    used, limit = mebibytes(accelerator["memoryUsed"]), mebibytes(accelerator["memoryLimit"])
    peak = accelerator.get("memoryPeak")
    before = "" if peak is None else f" (peak {mebibytes(peak)})"
    return f"{used} of {limit} MiB{before}"
