"""A process that runs a model in a loop, told how by JSON lines on its standard input.

    {"do": "open", "engine": ENGINE, "workload": NAME, "model": PATH, "threads": N, "grant": {…},
     "feed": {"shape": […], "dtype": …}, "providers": […]}
    {"do": "drive", "workload": NAME, "from": T, "until": T, "threads": N}
    {"do": "close", "workload": NAME}

ENGINE is `local` (ONNX Runtime in this process), `local-bound` (the same with its input bound
once), `client` (the project's client) or `client-bound` (its input in registered shared
memory). `feed` describes what is not among the WORKLOADS; a local engine's `providers` are the
CPU's if not given. Times are of CLOCK_MONOTONIC, which all processes share. Each line is answered
by one.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.client import open_accelerator, registered_run
from benchmarks.workloads import WORKLOADS, Workload

Run = Callable[[], Any]


def _local(workload: Workload, message: dict[str, Any]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = message["threads"]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = message.get("providers") or ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in providers:
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(message["model"], options, providers=providers)
    if session.get_providers()[0] != providers[0]:
        raise RuntimeError(f"{providers[0]} does not work here: {session.get_providers()}")
    feed = workload.feed()
    if message["engine"] == "local":
        feeds = {"x": feed}
        return lambda: session.run(None, feeds)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(feed))
    binding.bind_output("y")

    def run() -> Any:
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    return run


class Worker:
    """The models that this process has open."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._models: dict[str, Any] = {}
        self._accelerator: Any = None

    def open(self, message: dict[str, Any]) -> dict[str, Any]:
        workload = _workload(message)
        begun = time.monotonic()
        if message["engine"].startswith("local"):
            run = _local(workload, message)
        else:
            if self._accelerator is None:
                self._accelerator = open_accelerator(message["grant"])
            begun = time.monotonic()
            model = self._accelerator.load(Path(message["model"]))
            self._models[workload.name] = model
            feed = workload.feed()
            if message["engine"] == "client-bound":
                run = registered_run(model, feed)
            else:
                feeds = {"x": feed}

                def run() -> Any:
                    return model.run(feeds)

        loaded = time.monotonic() - begun
        run()
        self._runs[workload.name] = run
        return {"load_seconds": loaded}

    def drive(self, message: dict[str, Any]) -> dict[str, Any]:
        run = self._runs[message["workload"]]
        results: list[list[float]] = [[] for _ in range(message.get("threads", 1))]
        threads = [
            threading.Thread(target=_loop, args=(run, message["from"], message["until"], out))
            for out in results[1:]
        ]
        for thread in threads:
            thread.start()
        _loop(run, message["from"], message["until"], results[0])
        for thread in threads:
            thread.join()
        return {"microseconds": [round(value, 2) for out in results for value in out]}

    def close(self, message: dict[str, Any]) -> dict[str, Any]:
        self._runs.pop(message["workload"], None)
        model = self._models.pop(message["workload"], None)
        if model is not None:
            model.close()
        return {}


def _workload(message: dict[str, Any]) -> Workload:
    feed = message.get("feed")
    if feed is None:
        return WORKLOADS[message["workload"]]
    return Workload(message["workload"], tuple(feed["shape"]), feed["dtype"], 0, None)


def _loop(run: Run, begin: float, until: float, microseconds: list[float]) -> None:
    """Run until `until`; note how long each run took that started after `begin`."""
    clock = time.perf_counter
    monotonic_less_clock = time.monotonic() - clock()
    begin -= monotonic_less_clock
    until -= monotonic_less_clock
    while (started := clock()) < until:
        run()
        if started >= begin:
            microseconds.append((clock() - started) * 1e6)


def main() -> None:
    """Answer commands until the input ends."""
    worker = Worker()
    actions = {"open": worker.open, "drive": worker.drive, "close": worker.close}
    for line in sys.stdin:
        message = json.loads(line)
        print(json.dumps(actions[message["do"]](message)), flush=True)


if __name__ == "__main__":
    main()
