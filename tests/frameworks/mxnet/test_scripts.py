"""The scripts of the original's guide as they were printed, under `ei run`."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.workloads import WORKLOADS
from tests.pools import ei

ROOT = Path(__file__).resolve().parents[3]
ORIGINAL = ROOT / "examples" / "mxnet" / "original"
MMS = ROOT / ".mms" / "bin"
pytestmark = pytest.mark.slow
UPGRADED = [
    (
        "src/nnvm/legacy_json_util.cc:209: Loading symbol saved by previous version v0.8.0. "
        "Attempting to upgrade..."
    ),
    "src/nnvm/legacy_json_util.cc:217: Symbol successfully upgraded!",
]
BANNER = [
    r"Using Amazon Elastic Inference Client Library Version: \S+",
    r"Number of Elastic Inference Accelerators Available: 1",
    r"Elastic Inference Accelerator ID: eia-[0-9a-f]{32}",
    r"Elastic Inference Accelerator Type: eia1\.large",
]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scripts download."""
    pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("downloads")
    sys.path.insert(0, str(ROOT / "examples" / "mxnet"))
    try:
        importlib.import_module("make_networks").make(folder, small=True)
    finally:
        sys.path.remove(str(ROOT / "examples" / "mxnet"))
    return folder


def run(home: Path, work: Path, downloads: Path | None, *words: str) -> tuple[str, list[str]]:
    """What a command under `ei run` prints, and the lines of its log."""
    command = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(work), *words]
    environment = {"EI_BANNER": "on", "EI_MXNET_DOWNLOADS": str(downloads or "")}
    done = ei(
        home, "run", "--quiet", "--accelerator", "eia1.large", "--", *command, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def script(name: str) -> str:
    return str(ORIGINAL / f"{name}.py")


def test_every_script_is_run_here() -> None:
    assert {path.stem for path in ORIGINAL.glob("*.py")} == {
        *("bind", "bind_once", "simple_bind", "simple_bind_once"),
        *("mxnet_resnet50", "mxnet_resnet50_once", "mxnet_resnet152"),
    }


@pytest.mark.parametrize(
    ("name", "inferences"), [("simple_bind", "[2.718281"), ("simple_bind_once", "[1.]")]
)
def test_simple_bind(short_path: Path, tmp_path: Path, name: str, inferences: str) -> None:
    out, log = run(short_path, tmp_path, None, sys.executable, script(name))
    assert out.count(inferences) == 10
    assert out.startswith("Inference 0, output = \n[")
    assert out.count("<NDArray 1 @cpu(0)>") == 10
    assert len(log) == len(BANNER)
    for line, pattern in zip(log, BANNER, strict=True):
        assert re.fullmatch(pattern, line), line


def test_bind(short_path: Path, tmp_path: Path) -> None:
    out, _ = run(short_path, tmp_path, None, sys.executable, script("bind"))
    assert out == (
        "1st Inference, output = \n[4. 7.]\n<NDArray 2 @cpu(0)>\n"
        "2nd Inference, output = \n[3. 3.]\n<NDArray 2 @cpu(0)>\n"
    )
    out, log = run(short_path, tmp_path, None, sys.executable, script("bind_once"))
    assert out == ""
    assert not [line for line in log if "Error" in line]


@pytest.mark.parametrize("name", ["mxnet_resnet50", "mxnet_resnet50_once", "mxnet_resnet152"])
def test_a_picture_is_classified(
    short_path: Path, tmp_path: Path, downloads: Path, name: str
) -> None:
    out, log = run(short_path, tmp_path, downloads, sys.executable, script(name))
    lines = out.splitlines()
    assert len(lines) == 5
    assert all(re.fullmatch(r"probability=0\.\d{6}, class=n\d{8} [a-z ]+", each) for each in lines)
    assert lines[0].endswith("class=n00000000 cat")
    assert [re.sub(r"^\[\d\d:\d\d:\d\d\] ", "", line) for line in log[:2]] == UPGRADED
    for line, pattern in zip(log[2:6], BANNER, strict=True):
        assert re.fullmatch(pattern, line), line


_MODULE = """
import mxnet as mx
model_path, EPOCH_NUM = 'resnet-152', 0
for name in ('resnet-152-0000.params', 'resnet-152-symbol.json'):
    mx.test_utils.download('http://data.mxnet.io/models/' + name)
data_shape = [('data', (1, 3, 224, 224))]
data_batch = mx.io.DataBatch([mx.nd.ones((1, 3, 224, 224))])
# Load saved model
sym, arg_params, aux_params = mx.model.load_checkpoint(model_path, EPOCH_NUM)

# Pass mx.eia() as context while creating Module object
mod = mx.mod.Module(symbol=sym, context=mx.eia())

# Only for_training = False is supported for eia
mod.bind(for_training=False, data_shapes=data_shape)
mod.set_params(arg_params, aux_params)

# forward call is performed on remote accelerator
mod.forward(data_batch)
print(mod.get_outputs()[0].shape)
"""


def test_the_module_commands(short_path: Path, tmp_path: Path, downloads: Path) -> None:
    out, _ = run(short_path, tmp_path, downloads, sys.executable, "-c", _MODULE)
    assert out == "(1, 10)\n"


_BOTH = """
import mxnet as mx
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
executor = mx.sym.exp(mx.sym.var("x")).simple_bind(mx.eia(), x=(2,))
for turn in range(3):
    executor.forward(x=mx.nd.full((2,), turn))
    (y,) = session.run(None, {"x": np.ones((1, 16), np.float32)})
    print(y.shape, f"{executor.outputs[0][1].asscalar():.2f}")
"""


def test_one_accelerator_serves_two_frameworks_at_once(short_path: Path, tmp_path: Path) -> None:
    model = WORKLOADS["tiny"].save(tmp_path)
    model.rename(tmp_path / "model.onnx")
    out, log = run(short_path, tmp_path, None, sys.executable, "-c", _BOTH)
    assert [line.partition(") ")[2] for line in out.splitlines()] == [*("1.00", "2.72", "7.39")]
    assert not [line for line in log if "locally" in line or "without an accelerator" in line]


def test_without_an_accelerator_the_original_s_words_are_said(tmp_path: Path) -> None:
    environment = dict(os.environ) | {
        "EI_RUN": "1",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, script("simple_bind")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: Failed to query accelerator metadata." in done.stderr
    assert "Failed to detect any accelerator" in done.stderr


@pytest.mark.skipif(
    not (MMS / "multi-model-server").exists() or shutil.which("java") is None,
    reason="`make demo-mms` makes the environment, and needs Java",
)
def test_multi_model_server_classifies_a_picture(short_path: Path) -> None:
    environment = dict(os.environ) | {"EI_HOME": str(short_path), "TMPDIR": str(short_path)}
    done = subprocess.run(
        [MMS / "python", ROOT / "examples" / "mms" / "mms_demo.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer) == 5
    assert answer[0]["class"] == "n00000000 cat"
    # Java and its workers have outlived those who started them.
    left = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]
    assert not [words for words in left if str(short_path) in " ".join(words or ())]
