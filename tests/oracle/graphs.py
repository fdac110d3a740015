"""Networks built by hand from MXNet's symbols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.frameworks.mxnet.translate.cases import Draw
from tests.oracle.model import Model
from tests.oracle.mxnet import mx

S = mx.sym


def models() -> Iterator[Model]:
    yield Model("ssd", _ssd(), {"data": Draw((2, 3, 64, 64), "unit")}, gain=0.3)
    yield Model("wavenet", _wavenet(), {"data": Draw((1, 16, 128), "unit")})
    yield Model("resnext", _resnext(), {"data": Draw((2, 3, 32, 32), "unit")})
    yield Model("inception-bn", _inception_bn(), {"data": Draw((1, 3, 112, 112), "unit")})
    tokens = Draw((2, 9), "whole", below=30)
    lengths = Draw((2,), "values", values=[9, 5])
    yield Model(
        "bert", _bert(), {"tokens": tokens, "types": Draw((2, 9), "flags"), "valid_length": lengths}
    )
    yield Model("lstm-cells", _cells("lstm"), {"data": Draw((2, 5, 6), "unit")})
    yield Model("gru-cells", _cells("gru"), {"data": Draw((2, 5, 6), "unit")})
    for kind in ("lstm", "gru", "rnn"):
        yield Model(f"language-{kind}", _language(kind), {"data": Draw((7, 2), "whole", below=20)})


def _convolution(
    x: Any, filters: int, size: int, name: str, stride: int = 1, groups: int = 1, act: bool = True
) -> Any:
    x = S.Convolution(
        x, num_filter=filters, kernel=(size, size), stride=(stride, stride),
        pad=(size // 2, size // 2), num_group=groups, no_bias=True, name=name,
    )  # fmt: skip
    x = S.BatchNorm(x, fix_gamma=False, eps=2e-5, name=f"{name}_bn")
    return S.Activation(x, act_type="relu", name=f"{name}_relu") if act else x


def _ssd() -> Any:
    """A detector as MXNet's own example has it."""
    x = _convolution(S.var("data"), 16, 3, "stem", 2)
    classes: list[Any] = []
    places: list[Any] = []
    anchors: list[Any] = []
    for index, filters in enumerate((16, 24, 32)):
        x = _convolution(x, filters, 3, f"stage{index}", 2)
        scaled = S.L2Normalization(x, mode="channel") * 20 if index == 0 else x
        sizes, ratios = (0.2 + 0.25 * index, 0.3 + 0.25 * index), (1, 2, 0.5)
        count = len(sizes) + len(ratios) - 1
        for found, width, name in ((classes, 4, "cls"), (places, 4, "loc")):
            made = S.Convolution(
                scaled, num_filter=count * width, kernel=(3, 3), pad=(1, 1), name=f"{name}{index}"
            )
            found.append(S.Flatten(S.transpose(made, axes=(0, 2, 3, 1))))
        anchors.append(
            S.Flatten(S.contrib.MultiBoxPrior(scaled, sizes=sizes, ratios=ratios, clip=False))
        )
    scores = S.Reshape(S.Concat(*classes, dim=1), shape=(0, -1, 4))
    scores = S.SoftmaxActivation(S.transpose(scores, axes=(0, 2, 1)), mode="channel", name="prob")
    boxes = S.Reshape(S.Concat(*anchors, dim=1), shape=(0, -1, 4))
    return S.contrib.MultiBoxDetection(
        scores, S.Concat(*places, dim=1), boxes, name="detection", nms_threshold=0.5,
        force_suppress=False, variances=(0.1, 0.1, 0.2, 0.2), nms_topk=400,
    )  # fmt: skip


def _wavenet() -> Any:
    """Gated, dilated convolutions with skip connections."""
    x = S.Convolution(S.var("data"), num_filter=16, kernel=(1,), name="start")
    skips = []
    for layer in range(6):
        dilate = 2**layer
        padded = S.expand_dims(x, axis=2)
        padded = S.Pad(padded, mode="constant", pad_width=(0, 0, 0, 0, 0, 0, dilate, 0))
        padded = S.Reshape(padded, shape=(0, 0, -3))
        filtered, gate = (
            S.Convolution(
                padded, num_filter=16, kernel=(2,), dilate=(dilate,), name=f"{kind}{layer}"
            )
            for kind in ("filter", "gate")
        )
        gated = S.tanh(filtered) * S.sigmoid(gate)
        skips.append(S.Convolution(gated, num_filter=24, kernel=(1,), name=f"skip{layer}"))
        x = x + S.Convolution(gated, num_filter=16, kernel=(1,), name=f"residual{layer}")
    out = S.Activation(S.add_n(*skips), act_type="relu")
    out = S.Activation(S.Convolution(out, num_filter=24, kernel=(1,), name="end1"), act_type="relu")
    return S.softmax(S.Convolution(out, num_filter=32, kernel=(1,), name="end2"), axis=1)


def _resnext() -> Any:
    """Blocks of grouped convolutions, before a SoftmaxOutput with its label."""
    x = _convolution(S.var("data"), 16, 3, "stem")
    for stage, filters in enumerate((32, 64)):
        for block in range(2):
            name, stride = f"s{stage}b{block}", 2 if block == 0 else 1
            y = _convolution(x, filters // 2, 1, f"{name}a")
            y = _convolution(y, filters // 2, 3, f"{name}b", stride, 8)
            y = _convolution(y, filters, 1, f"{name}c", act=False)
            if block == 0:
                x = _convolution(x, filters, 1, f"{name}d", stride, act=False)
            x = S.Activation(y + x, act_type="relu")
    x = S.Pooling(x, global_pool=True, kernel=(7, 7), pool_type="avg")
    x = S.FullyConnected(S.Flatten(x), num_hidden=10, name="fc1")
    return S.SoftmaxOutput(x, name="softmax")


def _inception_bn() -> Any:
    x = _convolution(S.var("data"), 16, 7, "conv1", 2)
    x = S.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full")
    for index, kind in enumerate(("avg", "max", "avg")):
        name = f"in{index}"
        branches = [
            _convolution(x, 8, 1, f"{name}a"),
            _convolution(_convolution(x, 8, 1, f"{name}b1"), 12, 3, f"{name}b2"),
            _convolution(
                _convolution(_convolution(x, 8, 1, f"{name}c1"), 12, 3, f"{name}c2"),
                12,
                3,
                f"{name}c3",
            ),
            _convolution(
                S.Pooling(x, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type=kind),
                8,
                1,
                f"{name}d",
            ),
        ]
        x = S.Concat(*branches, name=f"{name}_concat")
        x = S.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type=kind, pooling_convention="full")
    x = S.Pooling(x, kernel=(3, 3), global_pool=True, pool_type="avg")
    return S.SoftmaxOutput(S.FullyConnected(S.Flatten(x), num_hidden=10, name="fc"), name="softmax")


def _bert(layers: int = 2, units: int = 24, heads: int = 3) -> Any:
    """An encoder as GluonNLP exports it."""
    tokens, types, length = S.var("tokens"), S.var("types"), S.var("valid_length")
    words = S.Embedding(tokens, input_dim=30, output_dim=units, name="word")
    words = words + S.Embedding(types, input_dim=2, output_dim=units, name="type")
    steps = S.contrib.arange_like(tokens, axis=1)
    places = S.Embedding(steps, input_dim=16, output_dim=units, name="position")
    x = S.broadcast_add(words, S.expand_dims(places, axis=0))
    x = S.transpose(S.LayerNorm(x, name="start_ln"), axes=(1, 0, 2))
    mask = S.broadcast_lesser(
        S.Reshape(steps, shape=(1, -1)), S.Reshape(length, shape=(-1, 1)), name="mask"
    )
    mask = S.broadcast_mul(S.expand_dims(mask, axis=2), S.expand_dims(mask, axis=1))
    mask = S.Reshape(
        S.broadcast_axis(S.expand_dims(mask, axis=1), axis=1, size=heads), shape=(-3, 0, 0)
    )
    for layer in range(layers):
        x = _encoder(x, mask, layer, units, heads)
    x = S.transpose(x, axes=(1, 0, 2))
    first = S.slice_axis(x, axis=1, begin=0, end=1)
    pooled = S.FullyConnected(S.Reshape(first, shape=(-1, units)), num_hidden=units, name="pooler")
    pooled = S.Activation(pooled, act_type="tanh")
    masked = S.SequenceMask(
        S.transpose(x, axes=(1, 0, 2)), length, use_sequence_length=True, name="masked"
    )
    return S.Group([masked, pooled])


def _encoder(x: Any, mask: Any, layer: int, units: int, heads: int) -> Any:
    name = f"layer{layer}"
    qkv = S.FullyConnected(x, num_hidden=3 * units, flatten=False, name=f"{name}_qkv")
    scores = S.contrib.interleaved_matmul_selfatt_qk(qkv, heads=heads)
    scores = S.where(mask, scores, S.ones_like(scores) * -1e4)
    weights = S.Dropout(S.softmax(scores, axis=-1), p=0.1)
    found = S.contrib.interleaved_matmul_selfatt_valatt(qkv, weights, heads=heads)
    found = S.FullyConnected(found, num_hidden=units, flatten=False, name=f"{name}_proj")
    x = S.LayerNorm(x + found, name=f"{name}_ln1")
    inner = S.FullyConnected(x, num_hidden=4 * units, flatten=False, name=f"{name}_ffn1")
    inner = S.LeakyReLU(inner, act_type="gelu")
    inner = S.FullyConnected(inner, num_hidden=units, flatten=False, name=f"{name}_ffn2")
    return S.LayerNorm(x + inner, name=f"{name}_ln2")


def _cells(kind: str) -> Any:
    """Unrolled cells: every gate is a node of its own."""
    cell = {"lstm": mx.rnn.LSTMCell, "gru": mx.rnn.GRUCell}[kind](8, prefix=f"{kind}_")
    states = [S.zeros((2, 8)) for _ in cell.state_info]
    outputs, _ = cell.unroll(5, S.var("data"), begin_state=states, layout="NTC", merge_outputs=True)
    return S.FullyConnected(outputs, num_hidden=4, flatten=False, name="out")


def _language(kind: str) -> Any:
    """A language model with Gluon's fused layer, and its last states."""
    from mxnet import gluon

    layers = {"lstm": gluon.rnn.LSTM, "gru": gluon.rnn.GRU, "rnn": gluon.rnn.RNN}
    x = S.Embedding(S.var("data"), input_dim=20, output_dim=12, name="embed")
    layer = layers[kind](8, num_layers=2, bidirectional=True, input_size=12, prefix=f"{kind}_")
    states: Sequence[Any] = [S.var(f"begin{at}") for at in range(2 if kind == "lstm" else 1)]
    out, last = layer(x, list(states))
    out = S.FullyConnected(out, num_hidden=20, flatten=False, name="decoder")
    return S.Group([S.log_softmax(out, axis=-1), *last])
