"""The code of the how-to pages does what they say, as a reader would run it."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads import WORKLOADS
from tests import pools
from tests.frameworks.tensorflow import zoo
from tests.pools import ei, up

HOWTO = Path(__file__).parent.parent / "docs" / "howto"
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _local_answer(model: Path) -> list[list[float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: list[list[float]] = session.run(None, {"x": np.ones((1, 16), np.float32)})[0].tolist()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("pool", [False, True])
def test_tritonclient_works_as_its_page_says(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, pool: bool
) -> None:
    text = (HOWTO / "tritonclient.md").read_text(encoding="utf-8")
    take_access = _SHELL.findall(text)[0]
    pages = [page for page in _PYTHON.findall(text) if "tritonclient" in page]
    assert len(pages) == 2
    model = WORKLOADS["tiny"].save(short_path).rename(short_path / "model.onnx")
    monkeypatch.chdir(short_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for number, page in enumerate(pages):
        Path(f"{number}.py").write_text(page, encoding="utf-8")
    script = f"set -e\n{take_access}\n{sys.executable} 0.py\n{sys.executable} 1.py"
    with contextlib.ExitStack() as stack:
        if pool:
            stack.enter_context(up(short_path))
        done = ei(
            *(short_path, "run", "--quiet", "--accelerator", "eia1.medium", "--"),
            *("sh", "-c", script),
        )
    assert done.returncode == 0, done.stderr
    expected = _local_answer(model)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [expected, expected]


@pytest.mark.slow
@pytest.mark.skipif(
    any(shutil.which(each) is None for each in ("curl", "jq")), reason="curl or jq is missing"
)
def test_curl_works_as_its_page_says(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (HOWTO / "tritonclient.md").read_text(encoding="utf-8")
    blocks = _SHELL.findall(text)
    script = [block for block in blocks if "curl" in block or "access.json" in block]
    assert len(script) == 3
    monkeypatch.chdir(short_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = ei(
        *(short_path, "run", "--quiet", "--accelerator", "eia1.medium", "--"),
        *("sh", "-c", "set -e\n" + "\necho\n".join(script)),
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [each["name"] for each in answers] == ["elastic-inference"] * 2


@pytest.mark.parametrize("path", sorted(HOWTO.glob("*.md")), ids=lambda path: path.name)
def test_the_python_of_every_page_is_python(path: Path) -> None:
    # KServe's client, for one, is not installed where the tests run.
    for page in _PYTHON.findall(path.read_text(encoding="utf-8")):
        assert ast.parse(page).body


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
    tables = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(tables) == 2
    path = short_path / "accelerators.toml"
    path.write_text("\n".join(tables), encoding="utf-8")
    listed = ei(short_path, "describe", "types", "-o", "json", env={"EI_CATALOG": str(path)})
    assert listed.returncode == 0, listed.stderr
    assert "gpu.small" in listed.stdout


def _shell(script: str, folder: Path, home: Path) -> str:
    """What a script of a page prints, run in `folder` as in a terminal."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", script],
        env=pools.environment(home, PATH=path),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_PATIENCE = 280.0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tensorflow_models_run_as_their_page_says(short_path: Path, tmp_path: Path) -> None:
    text = (HOWTO / "tensorflow.md").read_text(encoding="utf-8")
    made, predict, *others, original = _PYTHON.findall(text)
    readme = (HOWTO.parent.parent / "README.md").read_text(encoding="utf-8")
    others += [page for page in _PYTHON.findall(readme) if "tensorflow" in page]
    assert len(others) == 4
    _, run, explain, _ = _SHELL.findall(text)
    zoo.write("frozen", tmp_path).rename(tmp_path / "frozen_graph.pb")
    (tmp_path / "make.py").write_text(made, encoding="utf-8")
    (tmp_path / "predict.py").write_text(predict, encoding="utf-8")
    (tmp_path / "original.py").write_text(original + "print(EIPredictor)", encoding="utf-8")
    names = [f"other{number}.py" for number in range(len(others))]
    for name, page in zip(names, others, strict=True):
        (tmp_path / name).write_text(page, encoding="utf-8")
    rest = " && ".join(f"python {name}" for name in names)
    _shell("python make.py && python original.py", tmp_path, short_path)
    assert "output_0" in _shell(run, tmp_path, short_path)
    said = _shell(f"ei run --accelerator eia1.medium -- sh -ec '{rest}'", tmp_path, short_path)
    assert said.startswith("(1, 10)\n")
    assert "tf.Tensor" in said
    assert "accelerator" in _shell(explain, tmp_path, short_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_tensorflow_models_are_served_as_their_page_says(
    short_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (HOWTO / "tensorflow-serving.md").read_text(encoding="utf-8")
    for port in ("8500", "8501"):
        text = text.replace(port, str(pools.spare_port()))
    (config,) = re.findall(r"^```proto\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    _, first, ask, second, ask_versions = _SHELL.findall(text)
    (client,) = _PYTHON.findall(text)
    (made, *_) = _PYTHON.findall((HOWTO / "tensorflow.md").read_text(encoding="utf-8"))
    _shell(f"cat > make.py <<'.'\n{made}.\npython make.py", tmp_path, short_path)
    shutil.copytree(tmp_path / "saved_model" / "1", tmp_path / "saved_model" / "2")
    (tmp_path / "client.py").write_text(client, encoding="utf-8")
    config = config.replace("/srv/models", str(tmp_path))
    (tmp_path / "models.config").write_text(config, encoding="utf-8")
    monkeypatch.setattr(pools, "PATIENCE", _PATIENCE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = pools.environment(short_path, PATH=path)
    for serve, questions in ((first, f"{ask}\npython client.py"), (second, ask_versions)):
        command = ["sh", "-ec", f"cd {tmp_path} && exec {serve}"]
        with pools.program(command, environment) as server:
            server.wait_for("Exporting HTTP/REST API")
            said = _shell(questions, tmp_path, short_path)
            assert server.end(signal.SIGTERM) == 0
        assert said.count("predictions") == (1 if serve == first else 2)
        assert '"error":' not in said


@pytest.mark.slow
def test_mxnet_models_run_as_their_page_says(short_path: Path, tmp_path: Path) -> None:
    text = (HOWTO / "mxnet.md").read_text(encoding="utf-8")
    pages = _PYTHON.findall(text)
    assert len(pages) == 4
    onnx_model = WORKLOADS["tiny"].save(tmp_path)
    if onnx_model != tmp_path / "model.onnx":
        onnx_model.rename(tmp_path / "model.onnx")
    for number, page in enumerate(pages):
        (tmp_path / f"{number}.py").write_text(page, encoding="utf-8")
    rest = " && ".join(f"python {number}.py" for number in range(len(pages)))
    said = _shell(f"ei run --accelerator eia1.medium -- sh -ec '{rest}'", tmp_path, short_path)
    assert said.count("@cpu(0)>") == 4
    assert said.splitlines()[-1].startswith("[1.0, 2.718")
    _, original = _SHELL.findall(text)
    root = HOWTO.parent.parent
    (tmp_path / "examples").symlink_to(root / "examples")
    said = _shell(original, tmp_path, short_path)
    assert re.search(r"^probability=0\.\d+, class=n00000000 cat$", said, re.MULTILINE)
