"""Make what the scripts in `original` download: two networks, labels and a picture.

    python examples/mxnet/make_networks.py FOLDER [--small]

The networks are ResNet-50 and ResNet-152 in the form in which MXNet's own were published. Their
last layer is fitted to drawn pictures of ten kinds, so that what they say is right; the layers
before it are random. `--small` makes networks with few and narrow layers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference import mxnet as mx

sys.path.insert(0, str(Path(__file__).parent))
import drawing

SIZE = 224
# Of each kind; few and narrow layers need more.
PICTURES, SMALL_PICTURES = 8, 16
# How sure the fitted layer is of what it was shown.
CERTAINTY = 9.0
UNITS = {"resnet-50": (3, 4, 6, 3), "resnet-152": (3, 8, 36, 3)}
SMALL = {"resnet-50": (1, 1, 1, 1), "resnet-152": (1, 1, 2, 1)}
FILTERS, SMALL_FILTERS = (64, 256, 512, 1024, 2048), (16, 32, 64, 64, 128)
Arrays = dict[str, Any]


def convolution(data: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    return mx.sym.Convolution(
        data, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride),
        pad=(kernel // 2, kernel // 2), no_bias=True, workspace=256, name=name,
    )  # fmt: skip


def normalised(data: Any, name: str, *, fix_gamma: bool = False) -> Any:
    return mx.sym.BatchNorm(data, fix_gamma=fix_gamma, eps=2e-5, momentum=0.9, name=name)


def rectified(data: Any, name: str) -> Any:
    return mx.sym.Activation(data, act_type="relu", name=name)


def unit(data: Any, filters: int, stride: int, name: str, *, same: bool) -> Any:
    """A residual unit whose normalisations come first."""
    first = rectified(normalised(data, f"{name}_bn1"), f"{name}_relu1")
    narrow = convolution(first, filters // 4, 1, 1, f"{name}_conv1")
    second = rectified(normalised(narrow, f"{name}_bn2"), f"{name}_relu2")
    wide = convolution(second, filters // 4, 3, stride, f"{name}_conv2")
    third = rectified(normalised(wide, f"{name}_bn3"), f"{name}_relu3")
    last = convolution(third, filters, 1, 1, f"{name}_conv3")
    return last + (data if same else convolution(first, filters, 1, stride, f"{name}_sc"))


def network(units: tuple[int, ...], filters: tuple[int, ...], classes: int) -> Any:
    """The symbol of a ResNet."""
    body = normalised(mx.sym.Variable("data"), "bn_data", fix_gamma=True)
    body = convolution(body, filters[0], 7, 2, "conv0")
    body = rectified(normalised(body, "bn0"), "relu0")
    body = mx.sym.Pooling(
        body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pooling0"
    )
    for stage, count in enumerate(units):
        for number in range(count):
            body = unit(
                body, filters[stage + 1], 2 if stage and not number else 1,
                f"stage{stage + 1}_unit{number + 1}", same=bool(number),
            )  # fmt: skip
    body = rectified(normalised(body, "bn1"), "relu1")
    body = mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    body = mx.sym.FullyConnected(mx.sym.Flatten(body, name="flatten0"), num_hidden=classes,
                                 name="fc1")  # fmt: skip
    return mx.sym.SoftmaxOutput(body, name="softmax")


def parameters(symbol: Any, seed: int) -> tuple[Arrays, Arrays]:
    """Random weights under which the size of what goes through stays the same."""
    generator = np.random.default_rng(seed)
    shapes, _, states = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
    arguments: Arrays = {}
    for name, shape in zip(symbol.list_arguments(), shapes, strict=True):
        if name.endswith("weight"):
            fan_in = int(np.prod(shape[1:]))
            drawn = generator.standard_normal(shape, dtype=np.float32)
            arguments[name] = mx.nd.array(drawn * np.float32(np.sqrt(2 / fan_in)))
        elif name not in {"data", "softmax_label"}:
            arguments[name] = mx.nd.array(np.full(shape, float(name.endswith("gamma"))))
    auxiliary = {}
    for name, shape in zip(symbol.list_auxiliary_states(), states, strict=True):
        value = float(name.endswith("var")) * variance(name)
        if name.startswith("bn_data"):
            value = 60.0**2 if name.endswith("var") else 140.0
        auxiliary[name] = mx.nd.array(np.full(shape, value))
    return arguments, auxiliary


def variance(name: str) -> float:
    """What goes into a normalisation has become as large as units before it have added up."""
    unit_name, _, own = name.partition("_bn")
    return 1.0 + int(unit_name.rpartition("unit")[2]) if own.startswith("1") and (
        "unit" in unit_name
    ) else 1.0  # fmt: skip


def features(symbol: Any, arguments: Arrays, auxiliary: Arrays, pictures: Any) -> Any:
    """What goes into the last layer."""
    inner = symbol.get_internals()["flatten0_output"]
    needed = {name: arguments[name] for name in inner.list_arguments() if name != "data"}
    block = mx.gluon.SymbolBlock(inner, mx.sym.var("data"), needed | auxiliary)
    return np.concatenate([block(mx.nd.array(each[np.newaxis])).asnumpy() for each in pictures])


def fit(symbol: Any, arguments: Arrays, auxiliary: Arrays, count: int) -> None:
    """Fit the last layer to `count` drawn pictures of each kind, by least squares."""
    generator = np.random.default_rng(1)
    kinds = list(drawing.KINDS)
    pictures = [drawing.draw(kind, generator) for kind in kinds for _ in range(count)]
    arrays = [np.asarray(each.resize((SIZE, SIZE)), np.float32) for each in pictures]
    found = features(symbol, arguments, auxiliary, [each.transpose(2, 0, 1) for each in arrays])
    wanted = np.repeat(np.eye(len(kinds)) * CERTAINTY, count, axis=0)
    mean, scale = found.mean(0), found.std(0) + 1e-6
    plain = (found - mean) / scale
    inner = plain @ plain.T
    dual = np.linalg.solve(inner + 0.05 * np.trace(inner) / len(inner) * np.eye(len(inner)), wanted)
    weight = (plain.T @ dual).T / scale
    arguments["fc1_weight"] = mx.nd.array(weight)
    arguments["fc1_bias"] = mx.nd.array(-weight @ mean)


def as_of_old(symbol: Any) -> str:
    """The symbol's text as MXNet 0.8 wrote it: auxiliary states are no inputs."""
    document = json.loads(symbol.tojson())
    states = set(symbol.list_auxiliary_states())
    kept = [each for each in document["nodes"] if each["name"] not in states]
    place = {each["name"]: number for number, each in enumerate(kept)}
    names = [each["name"] for each in document["nodes"]]
    nodes = [
        {
            "op": each["op"],
            "param": each.get("attrs", {}),
            "name": each["name"],
            "inputs": [
                [place[names[source]], index]
                for source, index, _ in each["inputs"]
                if names[source] in place
            ],
            "backward_source_id": -1,
        }
        for each in kept
    ]
    heads = [[place[names[source]], index] for source, index, _ in document["heads"]]
    variables = [number for number, each in enumerate(nodes) if each["op"] == "null"]
    return json.dumps({"nodes": nodes, "arg_nodes": variables, "heads": heads}, indent=2)


def make(folder: Path, *, small: bool = False, names: Collection[str] = tuple(UNITS)) -> None:
    """Make the files in `folder`, those networks among them that are named."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(drawing.KINDS)
    labels = "".join(f"n{number:08d} {kind}\n" for number, kind in enumerate(kinds))
    (folder / "synset.txt").write_text(labels, encoding="utf-8")
    drawing.save("cat", folder / "cat.jpg", seed=7)
    for name in names:
        units = (SMALL if small else UNITS)[name]
        symbol = network(units, SMALL_FILTERS if small else FILTERS, len(kinds))
        arguments, auxiliary = parameters(symbol, seed=3)
        fit(symbol, arguments, auxiliary, SMALL_PICTURES if small else PICTURES)
        (folder / f"{name}-symbol.json").write_text(as_of_old(symbol), encoding="utf-8")
        saved = {f"arg:{key}": each for key, each in arguments.items()}
        saved |= {f"aux:{key}": each for key, each in auxiliary.items()}
        mx.nd.save(str(folder / f"{name}-0000.params"), saved)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the models of the example scripts.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="few and narrow layers")
    given = parser.parse_args()
    make(given.folder, small=given.small)
    print(f"EI_MXNET_DOWNLOADS={given.folder.resolve()}")
