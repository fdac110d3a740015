"""`ei profile`, as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.workloads import WORKLOADS
from tests.accelerator import graphs
from tests.pools import ei, up


@pytest.fixture
def model(short_path: Path) -> Path:
    path = short_path / "m.onnx"
    path.write_bytes(graphs.network())
    return path


def test_a_model_is_profiled_on_an_accelerator_of_its_own(short_path: Path, model: Path) -> None:
    picture = short_path / "p.svg"
    done = ei(
        *(short_path, "profile", str(model), "--runs", "2", "--accelerator", "eia1.large"),
        *("--picture", str(picture)),
    )
    assert done.returncode == 0, done.stderr
    assert "(eia1.large), CPUExecutionProvider, over shm; means of 2 calls" in done.stdout
    for shown in ("compute", "OPERATOR", "Conv", "Memory: model"):
        assert shown in done.stdout
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))  # noqa: S314 - made by us
    assert root.tag.endswith("svg")
    assert any("Conv" in (title.text or "") for title in root.iter() if title.tag.endswith("title"))


def test_an_accelerator_that_runs_is_used_and_stays(short_path: Path, model: Path) -> None:
    holding = short_path / "hold.py"
    holding.write_text(
        "import json, subprocess, sys\n"
        "ei = [sys.executable, '-m', 'elastic_inference.cli']\n"
        "def listed():\n"
        "    shown = subprocess.check_output([*ei, 'describe', 'accelerators', '-o', 'json'])\n"
        "    return [each['acceleratorId'] for each in json.loads(shown)['accelerators']]\n"
        "own, = listed()\n"
        "print(subprocess.check_output(\n"
        "    [*ei, 'profile', sys.argv[1], '--accelerator', own, '--runs', '2', '-o', 'json']\n"
        ").decode())\n"
        "assert listed() == [own]\n",
        encoding="utf-8",
    )
    with up(short_path):
        done = ei(
            *(short_path, "run", "--quiet", "--accelerator", "eia1.medium", "--"),
            *(sys.executable, str(holding), str(model)),
        )
        left = ei(short_path, "describe", "accelerators", "-o", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == str(model)
    assert document["runs"] == 2
    assert document["nodes"][0]["ns"] >= 0
    assert document["wall_ns"] > 0
    assert json.loads(left.stdout) == {"accelerators": []}


def test_inputs_are_given_by_shape_or_file(short_path: Path) -> None:
    model = WORKLOADS["tiny"].save(short_path)
    np.save(short_path / "x.npy", np.ones((1, 16), np.float32))
    for value in ("1,16", "1x16", str(short_path / "x.npy")):
        done = ei(short_path, "profile", str(model), "--runs", "1", "--input", f"x={value}")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.onnx"], "There is no file 'nothing.onnx'"),
        (["MODEL", "--runs", "0"], "it is a number from 1 to 1000"),
        (["MODEL", "--picture", "/nowhere/p.svg"], "its folder is not there"),
        (["MODEL", "--accelerator", "eia9.huge"], "Unknown accelerator type 'eia9.huge'"),
        (["MODEL", "--accelerator", "eia-" + "0" * 32], "No pool runs"),
        (["MODEL", "--input", "image"], "is not NAME=SHAPE or NAME=FILE.npy"),
        (["MODEL", "--input", "nobody=1"], "The model has no input 'nobody'; it has: x"),
        (["MODEL", "--input", "x=nothing.npy"], "is neither a shape nor a file"),
        (["MODEL", "--input", "x=1,2,3"], "expected FP32"),
        (["NO MODEL"], "not an ONNX model"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    short_path: Path, model: Path, words: list[str], said: str
) -> None:
    wrong = short_path / "wrong.onnx"
    wrong.write_bytes(b"\x7fELF and so on")
    named = {"MODEL": str(model), "NO MODEL": str(wrong)}
    done = ei(short_path, "profile", *[named.get(word, word) for word in words])
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_sizes_that_were_made_up_are_told(short_path: Path) -> None:
    """A model that 1 does not suit."""
    from onnx import TensorProto, helper

    path = short_path / "m.onnx"
    path.write_bytes(
        graphs.model(
            [
                helper.make_node("Add", ["x", "w"], ["s"]),
                helper.make_node("Concat", ["x", "w"], ["y"], axis=1),
            ],
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            {"w": np.ones((4, 3), np.float32)},
        )
    )
    done = ei(short_path, "profile", str(path), "--runs", "1")
    assert done.returncode in (1, 2)
    assert "give them with --input x=?,3" in done.stderr
    assert ei(short_path, "profile", str(path), "--runs", "1", "--input", "x=4,3").returncode == 0
