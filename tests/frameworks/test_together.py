"""One accelerator, and applications of three frameworks on it at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.accelerator.http_client import scale_model

pytestmark = pytest.mark.slow
EI = Path(sys.executable).with_name("ei")
_FEED = "x = np.arange(4, dtype=np.float32).reshape(1, 4)\n"
# Each says what it got for the same row, as often as it is told to.
_APPLICATIONS = {
    "onnx": "import numpy as np, onnxruntime\n"
    "session = onnxruntime.InferenceSession(sys.argv[1] + '/double.onnx')\n"
    "run = lambda x: session.run(None, {'x': x})[0]\n",
    "tensorflow": "import numpy as np\n"
    "from ei_for_tf.python.predictor.ei_predictor import EIPredictor\n"
    "predictor = EIPredictor(sys.argv[1] + '/saved')\n"
    "run = lambda x: predictor({'x': x})['y']\n",
    "mxnet": "import numpy as np, mxnet as mx\n"
    "symbol = mx.sym.Variable('x') * 4\n"
    "executor = symbol.simple_bind(ctx=mx.eia(), grad_req='null', x=(1, 4))\n"
    "run = lambda x: executor.forward(x=mx.nd.array(x))[0].asnumpy()\n",
}
_FACTORS = {"onnx": 2, "tensorflow": 3, "mxnet": 4}
_LOOP = "for _ in range(200):\n    assert np.array_equal(run(x), x * FACTOR)\nprint('right')\n"
_ALL = """
import subprocess, sys
words = [[sys.executable, "-c", each, sys.argv[1]] for each in sys.argv[2:]]
started = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in words]
print([each.communicate(timeout=100)[0].splitlines()[-1:] for each in started])
"""


def _save(folder: Path) -> None:
    """A model whose `y` is three times its `x`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": x * 3.0})


def test_three_frameworks_at_once(tmp_path: Path) -> None:
    _save(tmp_path / "saved")
    (tmp_path / "double.onnx").write_bytes(scale_model(2))
    programs = [
        "import sys\n" + opening + _FEED + _LOOP.replace("FACTOR", str(_FACTORS[name]))
        for name, opening in _APPLICATIONS.items()
    ]
    words = [sys.executable, "-c", _ALL, str(tmp_path), *programs]
    done = subprocess.run(
        [str(EI), "run", "--quiet", "--accelerator", "eia1.medium", "--", *words],
        env=dict(os.environ) | {"EI_HOME": str(tmp_path / "home"), "EI_BANNER": "off"},
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str([["right"]] * 3), done.stderr
