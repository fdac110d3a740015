"""The application on the far side of a link: plain ONNX Runtime, started under `ei run`.

    python far_application.py DEVICE SECONDS MODEL NAME SHAPE DTYPE [MODEL NAME SHAPE DTYPE …]

It prints one JSON object per model: what it answered, how long it took and what went through
the network device DEVICE meanwhile. It knows nothing of accelerators.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_THREADS = 4


def _counters(device: str) -> tuple[int, int]:
    folder = Path("/sys/class/net", device, "statistics")
    sent = int((folder / "tx_bytes").read_text(encoding="ascii"))
    return sent, int((folder / "rx_bytes").read_text(encoding="ascii"))


def _feed(shape: list[int], dtype: str) -> Any:
    rng = np.random.default_rng(7)
    if dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.standard_normal(shape, np.float32)


def _drive(session: Any, feeds: dict[str, Any], until: float, times: list[float]) -> None:
    while (begun := time.monotonic()) < until:
        session.run(None, feeds)
        times.append(time.monotonic() - begun)


def _measure(
    session: Any, feeds: dict[str, Any], device: str, seconds: float, threads: int
) -> dict[str, Any]:
    times: list[list[float]] = [[] for _ in range(threads)]
    sent, received = _counters(device)
    begun = time.monotonic()
    runners = [
        threading.Thread(target=_drive, args=(session, feeds, begun + seconds, each))
        for each in times
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    elapsed = time.monotonic() - begun
    sent_after, received_after = _counters(device)
    every = [value for each in times for value in each]
    return {
        "p50_ms": statistics.median(every) * 1e3,
        "requests": len(every),
        "seconds": elapsed,
        "sent": sent_after - sent,
        "received": received_after - received,
        "tensor_bytes": len(every) * sum(value.nbytes for value in feeds.values()),
    }


def main() -> None:
    """Measure each model with one thread and with several."""
    device, seconds, *rest = sys.argv[1:]
    for start in range(0, len(rest), 4):
        path, name, shape, dtype = rest[start : start + 4]
        before = _counters(device)
        begun = time.monotonic()
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        loaded = time.monotonic() - begun
        feeds = {"x": _feed(json.loads(shape), dtype)}
        (answer,) = session.run(None, feeds)
        after = _counters(device)
        report = {
            "name": name,
            "load_seconds": loaded,
            "load_bytes": after[0] - before[0],
            "answer": hashlib.sha256(answer.tobytes()).hexdigest(),
            "one": _measure(session, feeds, device, float(seconds), 1),
            "several": _measure(session, feeds, device, float(seconds), _THREADS),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
