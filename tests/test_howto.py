"""The code of the how-to pages does what they say, as a reader would run it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads import WORKLOADS
from tests.pools import ei, up

HOWTO = Path(__file__).parent.parent / "docs" / "howto"
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the page's reader types in a shell first.
_TAKE_ACCESS = """\
import json, pathlib, subprocess, sys
ei = [sys.executable, "-m", "elastic_inference.cli"]
listed = subprocess.check_output([*ei, "describe", "accelerators", "-o", "json"])
(shown,) = json.loads(listed)["accelerators"]
access = subprocess.check_output([*ei, "token", shown["acceleratorId"], "-o", "json"])
pathlib.Path("access.json").write_bytes(access)
"""


def _local_answer(model: Path) -> list[list[float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: list[list[float]] = session.run(None, {"x": np.ones((1, 16), np.float32)})[0].tolist()
    return answer


@pytest.mark.slow
def test_tritonclient_works_as_its_page_says(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (page,) = _PYTHON.findall((HOWTO / "tritonclient.md").read_text(encoding="utf-8"))
    model = WORKLOADS["tiny"].save(short_path).rename(short_path / "model.onnx")
    program = short_path / "program.py"
    program.write_text(_TAKE_ACCESS + page, encoding="utf-8")
    monkeypatch.chdir(short_path)
    with up(short_path):
        done = ei(
            *(short_path, "run", "--quiet", "--accelerator", "eia1.medium", "--"),
            *(sys.executable, str(program)),
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == _local_answer(model)


@pytest.mark.slow
def test_the_client_works_as_its_page_says(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = _PYTHON.findall((HOWTO / "run.md").read_text(encoding="utf-8"))
    WORKLOADS["image"].save(short_path).rename(short_path / "model.onnx")
    monkeypatch.chdir(short_path)
    program = short_path / "program.py"
    program.write_text("\n".join([*pages, "print(y.shape, y.dtype, session)"]), encoding="utf-8")
    done = ei(
        *(short_path, "run", "--quiet", "--accelerator", "eia1.medium,eia1.medium", "--"),
        *(sys.executable, str(program)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, 1000) float32 <")


@pytest.mark.slow
def test_a_type_of_the_user_s_own_works_as_its_page_says(short_path: Path) -> None:
    text = (HOWTO / "types.md").read_text(encoding="utf-8")
    (catalog,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    path = short_path / "accelerators.toml"
    path.write_text(catalog, encoding="utf-8")
    listed = ei(short_path, "describe", "types", "-o", "json", env={"EI_CATALOG": str(path)})
    assert listed.returncode == 0, listed.stderr
    assert "gpu.small" in listed.stdout
