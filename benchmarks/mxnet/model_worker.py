"""A process that runs one network by Symbol and by Module, told what to do by JSON lines.

    python -m benchmarks.mxnet.model_worker eia|real

    {"do": "open", "prefix": PREFIX, "shape": [N, …]}           ->  {"version": V}
    {"do": "save", "way": "symbol"|"module", "path": FILE.npy}  ->  {}
    {"do": "drive", "way": WAY, "seconds": S}                   ->  {"ms": [M, …]}

With `real` it is MXNet's environment that runs this file.
"""

from __future__ import annotations

import json
import sys
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.driving import drive

_LABEL = "softmax_label"
# What people write for `forward`: anything with arrays in `data`.
_Batch = namedtuple("_Batch", ["data"])  # noqa: PYI024 - the scripts' own words
_Ways = Mapping[str, Callable[[], Any]]


def _open(kind: str, message: dict[str, Any]) -> tuple[_Ways, dict[str, Any]]:
    if kind == "real":
        from benchmarks.mxnet.real import mx

        context = mx.cpu()
    else:
        from elastic_inference import mxnet as mx

        context = mx.eia()
    symbol, arguments, states = mx.model.load_checkpoint(message["prefix"], 0)
    shape = tuple(message["shape"])
    data = mx.nd.array(np.random.default_rng(5).uniform(0, 255, shape).astype(np.float32))
    return {
        "symbol": _symbol(mx, context, symbol, arguments, states, data),
        "module": _module(mx, context, symbol, arguments, states, data),
    }, {"version": mx.__version__}


def _symbol(
    mx: Any, context: Any, symbol: Any, arguments: Any, states: Any, data: Any
) -> Callable[[], Any]:
    given = {**arguments, "data": data}
    if _LABEL in symbol.list_arguments():
        given[_LABEL] = mx.nd.zeros((data.shape[0],))
    executor = symbol.bind(context, given, aux_states=states, grad_req="null")

    def run() -> Any:
        executor.forward(is_train=False, data=data)
        return executor.outputs[0].asnumpy()

    return run


def _module(
    mx: Any, context: Any, symbol: Any, arguments: Any, states: Any, data: Any
) -> Callable[[], Any]:
    module = mx.mod.Module(symbol=symbol, context=context, label_names=None)
    module.bind(for_training=False, data_shapes=[("data", data.shape)])
    module.set_params(arguments, states, allow_missing=True)

    def run() -> Any:
        module.forward(_Batch([data]))
        return module.get_outputs()[0].asnumpy()

    return run


def main() -> int:
    """Do what the lines say until there are no more."""
    # What libraries print must not get between the answers.
    answers = sys.stdout
    sys.stdout = sys.stderr
    ways: _Ways = {}
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {}
        if message["do"] == "open":
            ways, answer = _open(sys.argv[1], message)
        elif message["do"] == "save":
            np.save(message["path"], ways[message["way"]]())
        else:
            answer = {"ms": drive(ways[message["way"]], message["seconds"])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
