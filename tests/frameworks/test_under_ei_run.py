"""Unmodified ONNX Runtime applications under `ei run`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.models import add

ROOT = Path(__file__).resolve().parents[2]
EI = Path(sys.executable).with_name("ei")
APPLICATION = """
import sys
import numpy as np
import onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], ort.SessionOptions(), ["CPUExecutionProvider"])
print(session.run(None, {"x": np.ones((2, 3), np.float32), "y": np.ones(3, np.float32)}))
"""
pytestmark = pytest.mark.skipif(not EI.exists(), reason="the command ei is not installed here")


def run(command: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        env=clean | {"EI_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )


def attached(command: list[str]) -> list[str]:
    return [str(EI), "run", "--accelerator", "eia1.medium", "--", *command]


def inferences(stderr: str) -> int:
    """How many inferences the summary of `ei run` counts."""
    found = re.search(r"(\d+) inferences?", stderr)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("transport", ["auto", "tls"])
def test_its_inference_reaches_the_accelerator(
    short_path: Path, tmp_path: Path, transport: str
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(add())
    application = [sys.executable, "-c", APPLICATION, str(model)]
    alone = run(application, short_path)
    done = run(attached(application), short_path, EI_TRANSPORT=transport)
    assert done.stdout == alone.stdout
    assert inferences(done.stderr) == 1


def test_hidden_accelerators_are_not_used(short_path: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(add())
    application = [sys.executable, "-c", APPLICATION, str(model)]
    done = run(attached(application), short_path, EI_VISIBLE_DEVICES="")
    assert done.stdout == run(application, short_path).stdout
    assert inferences(done.stderr) == 0


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("rapidocr_onnxruntime") is None,
    reason="rapidocr-onnxruntime, the application, is not installed",
)
def test_an_application_reads_the_same_text(short_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    ocr = ROOT / "examples" / "ocr"
    paint = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
    paint += "from picture import paint; paint(Path(sys.argv[2]))"
    run([sys.executable, "-c", paint, str(ocr), str(picture)], short_path)
    application = [sys.executable, str(ocr / "read_text.py"), str(picture)]
    alone = run(application, short_path)
    assert "quick brown fox" in alone.stdout
    done = run(attached(application), short_path)
    assert done.stdout == alone.stdout
    assert inferences(done.stderr) >= 3
