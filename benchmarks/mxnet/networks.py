"""The networks that are measured, with random weights, in the form in which MXNet published them.

    python -m benchmarks.mxnet.networks NAME PREFIX

writes PREFIX-symbol.json and PREFIX-0000.params. The ResNets are those of examples/mxnet, whose
normalisations come first; VGG-16 has 138 million weights.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples" / "mxnet"
_SEED = 3
_CLASSES = 1000
# How many convolutions of how many filters there are before each halving.
_VGG = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
_VGG_LAYERS = (4096, 4096)

SHAPE = (1, 3, 224, 224)
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "resnet-50": "ResNet-50, as published",
        "resnet-152": "ResNet-152, as published",
        "resnet50_v1": "ResNet-50 v1 of Gluon's zoo",
        "resnet152_v1": "ResNet-152 v1 of Gluon's zoo",
        "vgg-16": "VGG-16",
    }
)
OF_GLUON = ("resnet50_v1", "resnet152_v1")


def prefix(name: str, folder: Path, mxnet: str | None) -> Path:
    """Where a network's files lie, which are made unless they are there.

    Args:
        mxnet: the Python with MXNet, which Gluon's networks need.
    """
    made = folder / name
    if not made.with_name(f"{name}-0000.params").exists():
        folder.mkdir(parents=True, exist_ok=True)
        python, module = (
            (mxnet, "gluon_zoo") if mxnet and name in OF_GLUON else (sys.executable, "networks")
        )
        # In a process of its own, whose memory is given back.
        words = [python, "-m", f"benchmarks.mxnet.{module}", name, str(made)]
        subprocess.run(words, cwd=_ROOT, capture_output=True, check=True)
    return made


def _vgg(mx: Any) -> Any:
    body = mx.sym.Variable("data")
    for stage, (count, filters) in enumerate(_VGG):
        for number in range(count):
            name = f"conv{stage + 1}_{number + 1}"
            body = mx.sym.Convolution(
                body, kernel=(3, 3), pad=(1, 1), num_filter=filters, name=name
            )
            body = mx.sym.Activation(body, act_type="relu", name=f"relu_{name}")
        body = mx.sym.Pooling(body, kernel=(2, 2), stride=(2, 2), pool_type="max")
    body = mx.sym.Flatten(body)
    for number, size in enumerate(_VGG_LAYERS):
        body = mx.sym.FullyConnected(body, num_hidden=size, name=f"fc{number + 6}")
        body = mx.sym.Activation(body, act_type="relu", name=f"relu{number + 6}")
        body = mx.sym.Dropout(body, p=0.5, name=f"drop{number + 6}")
    body = mx.sym.FullyConnected(body, num_hidden=_CLASSES, name="fc8")
    return mx.sym.SoftmaxOutput(body, name="softmax")


def _make(name: str, path: str) -> None:
    sys.path.insert(0, str(_EXAMPLES))
    import make_networks

    from elastic_inference import mxnet as mx

    if name == "vgg-16":
        symbol = _vgg(mx)
    else:
        symbol = make_networks.network(make_networks.UNITS[name], make_networks.FILTERS, _CLASSES)
    arguments, auxiliary = make_networks.parameters(symbol, _SEED)
    Path(f"{path}-symbol.json").write_text(make_networks.as_of_old(symbol), encoding="utf-8")
    saved = {f"arg:{key}": each for key, each in arguments.items()}
    saved |= {f"aux:{key}": each for key, each in auxiliary.items()}
    mx.nd.save(f"{path}-0000.params", saved)


if __name__ == "__main__":
    _make(*sys.argv[1:])
