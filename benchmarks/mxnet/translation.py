"""Translates one network in this process, and says how long it took and what memory.

    python -m benchmarks.mxnet.translation PREFIX eia|cpu

Binding translates; with `eia`, which `ei run` gives, the network is run once as well. Prints a
JSON line: seconds of the translation, of the first result after it, and the peak in bytes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.mxnet.networks import SHAPE


def main() -> None:
    """Translate, and print the line."""
    from elastic_inference import mxnet as mx

    prefix, kind = sys.argv[1:]
    context = mx.eia() if kind == "eia" else mx.cpu()
    given = {"data": mx.nd.zeros(SHAPE)}
    begun = time.perf_counter()
    symbol, arguments, states = mx.model.load_checkpoint(prefix, 0)
    given |= arguments
    if "softmax_label" in symbol.list_arguments():
        given["softmax_label"] = mx.nd.zeros((SHAPE[0],))
    executor = symbol.bind(context, given, aux_states=states, grad_req="null")
    translated = time.perf_counter()
    if kind == "eia":
        executor.forward()[0].asnumpy()
    ended = time.perf_counter()
    line = {
        "translated": translated - begun,
        "first": ended - translated,
        "peak": _peak(),
    }
    sys.stdout.write("\n" + json.dumps(line) + "\n")


def _peak() -> int:
    """The most memory that this process has had, in bytes; rusage would count its parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("a process has a peak of memory")


if __name__ == "__main__":
    main()
