"""Small networks, and parameters for them."""

from __future__ import annotations

import gc
from typing import Any

from elastic_inference import mxnet as mx
from elastic_inference.client import Accelerator


def loaded(accelerator: Accelerator) -> int:
    """How many models are loaded there, some perhaps that are about to be let go of."""
    gc.collect()
    return int(accelerator.info()["models"])


def dense() -> Any:
    return mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc")


def convolutional() -> Any:
    body = mx.sym.Convolution(
        mx.sym.var("data"), num_filter=8, kernel=(3, 3), pad=(1, 1), name="conv"
    )
    body = mx.sym.Activation(mx.sym.BatchNorm(body, name="bn"), act_type="relu", name="relu")
    body = mx.sym.Pooling(body, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    body = mx.sym.FullyConnected(mx.sym.Flatten(body), num_hidden=4, name="fc")
    return mx.sym.softmax(body, name="probabilities")


def random_parameters(net: Any, **shapes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments but those of `shapes`, and auxiliary states."""
    found, _, states = net.infer_shape(**shapes)
    draw = mx.init.Uniform(0.5)

    def drawn(name: str, shape: Any) -> Any:
        made = mx.nd.zeros(shape)
        draw(name, made)
        return made

    arguments = {
        name: drawn(name, shape)
        for name, shape in zip(net.list_arguments(), found, strict=True)
        if name not in shapes
    }
    auxiliary = {
        name: drawn(name, shape)
        for name, shape in zip(net.list_auxiliary_states(), states, strict=True)
    }
    return arguments, auxiliary
