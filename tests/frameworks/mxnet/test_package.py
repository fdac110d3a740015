"""The package as scripts import it, under its own name and as `mxnet`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elastic_inference import mxnet as mx

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mxnet") is not None, reason="a real MXNet is installed here"
)
IMPORTS = """
import mxnet
import mxnet as mx
from mxnet import nd, gluon, image, autograd
from mxnet.contrib.onnx import import_model
from mxnet.contrib import onnx as onnx_mxnet
from mxnet.gluon.data.vision import transforms
from mxnet.gluon.nn import SymbolBlock
from mxnet.io import DataBatch, DataDesc
from mxnet.module import Module
from mxnet.base import MXNetError
import mxnet.ndarray.ndarray
import mxnet.ndarray as F
import mxnet.symbol.contrib
print(isinstance(mx.nd.ones((1,)), mx.ndarray.ndarray.NDArray), mx.__version__, mx.eia())
print(mx.mod.Module is Module, mx.module.Module is Module, mx.sym is mx.symbol, mx.nd is F)
print(mx.img is image, mx.cpu() == mx.context.cpu(), issubclass(MXNetError, RuntimeError))
try:
    import mxnet.nothing
except ModuleNotFoundError as error:
    print(error.name)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_under_ei_run_it_is_mxnet_where_no_other_is() -> None:
    done = python(IMPORTS, EI_RUN="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True 1.9.1 eia(0)",
        "True True True True",
        "True True True",
        "mxnet.nothing",
    ]


def test_without_ei_run_there_is_none() -> None:
    done = python("import mxnet")
    assert "No module named 'mxnet'" in done.stderr


def test_a_real_one_comes_first(tmp_path: Path) -> None:
    (tmp_path / "mxnet.py").write_text("real = True")
    done = python("import mxnet\nprint(mxnet.real)", EI_RUN="1", PYTHONPATH=str(tmp_path))
    assert done.stdout == "True\n", done.stderr


def test_our_own_name_has_the_same_modules() -> None:
    again = importlib.import_module("elastic_inference.mxnet.ndarray.ndarray")
    assert again.NDArray is mx.nd.NDArray
    onnx = importlib.import_module("elastic_inference.mxnet.contrib.onnx")
    assert onnx is mx.contrib.onnx
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("elastic_inference.mxnet.nothing")


def test_importing_it_loads_no_engine() -> None:
    code = (
        "import sys, elastic_inference.mxnet\n"
        "print(sorted({'onnx', 'onnxruntime', 'cv2', 'PIL', 'mxnet'} & set(sys.modules)))"
    )
    assert python(code).stdout == "[]\n"


def test_operators_are_functions_of_both_modules() -> None:
    assert {"concat", "transpose", "exp", "FullyConnected"} <= set(dir(mx.nd)) | set(dir(mx.sym))
    assert mx.nd.exp.__name__ == "exp"
    assert "num_hidden" in (mx.sym.FullyConnected.__doc__ or "")
    x = mx.nd.array([[1, 2], [3, 4]])
    assert mx.nd.concat(x, x, dim=0).shape == (4, 2)
    assert mx.nd.transpose(x, (1, 0)).asnumpy().tolist() == [[1, 3], [2, 4]]
    assert mx.nd.reshape(x, shape=(-1,)).shape == (4,)
    assert mx.nd.expand_dims(x, axis=0).shape == (1, 2, 2)
    assert mx.nd.maximum(x, 2).asnumpy().tolist() == [[2, 2], [3, 4]]
    assert mx.nd.add(x, x).asnumpy().tolist() == [[2, 4], [6, 8]]
    assert mx.nd.random_normal(shape=(2, 2)).shape == (2, 2)
    assert x.exp().shape == (2, 2)
    out = mx.nd.zeros((2, 2))
    mx.nd.exp(x, out=out)
    assert out.asnumpy().min() > 2
    assert [each.shape for each in mx.nd.SliceChannel(x, num_outputs=2)] == [(2, 1), (2, 1)]
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = mx.nd.nonsense
    with pytest.raises(TypeError, match="missing the input 'weight'"):
        mx.nd.FullyConnected(x, num_hidden=2)
    with pytest.raises(mx.MXNetError, match="Unimplemented device 6"):
        mx.nd.exp(x, ctx=mx.eia())


def test_probes_of_other_libraries_find_what_they_look_for() -> None:
    # keras-apache-mxnet takes the context that can be made for one that is there.
    assert str(mx.eia()) == "eia(0)"
    # Others put an array there, and fall back to the processor.
    for context in (mx.gpu(), mx.eia()):
        with pytest.raises(mx.MXNetError):
            mx.nd.array([0], ctx=context)
    assert mx.context.num_gpus() == 0
    assert mx.test_utils.list_gpus() == []
    assert not mx.runtime.Features().is_enabled("CUDA")
