"""A network of Gluon's model zoo with random weights; for MXNet's environment.

.oracle/bin/python -m benchmarks.mxnet.gluon_zoo NAME PREFIX
"""

from __future__ import annotations

import sys

from benchmarks.mxnet.real import mx

_SHAPE = (1, 3, 224, 224)


def main() -> None:
    """Write PREFIX-symbol.json and PREFIX-0000.params."""
    name, prefix = sys.argv[1:]
    mx.random.seed(3)
    net = mx.gluon.model_zoo.vision.get_model(name, pretrained=False)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=1))
    net.hybridize()
    net(mx.nd.random.uniform(shape=_SHAPE)).wait_to_read()
    net.export(prefix)


if __name__ == "__main__":
    main()
