"""The examples run as their pages and their scripts say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import pools
from tests.frameworks.tensorflow import zoo
from tests.frameworks.tensorflow.zoo_detection import EXAMPLES, example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
_RUN = (*pools.EI, "run", "--quiet", "--accelerator", "eia1.large", "--")
_PATIENCE = 300.0
_PICTURE = "shapes.jpg"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that tests have: a detector that was trained there is trained once."""
    return tmp_path_factory.getbasetemp() / "cache"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with what `make_models.py` makes, with a smaller network than Inception."""
    return _made(tmp_path_factory.mktemp("made"), cache, "--small")


def _made(folder: Path, cache: Path, *options: str) -> Path:
    command = [sys.executable, str(EXAMPLES / "make_models.py"), "--folder", str(folder), *options]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    subprocess.run(command, env=environment, check=True, timeout=_PATIENCE)
    return folder


def _attached(
    home: Path, *command: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command under `ei run`, to its end."""
    return subprocess.run(
        [*_RUN, *command],
        env=pools.environment(home, **environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )


def _as_printed(name: str, made: Path, tmp_path: Path) -> Path:
    """A script of the original's guide, with the folder of these tests for `/tmp`."""
    script = tmp_path / name
    text = (EXAMPLES / "original" / name).read_text(encoding="utf-8")
    folder = "/tmp/"  # noqa: S108 - the one that is printed
    script.write_text(text.replace(folder, f"{made}/"), encoding="utf-8")
    return script


def _without_curl(tmp_path: Path) -> str:
    """A PATH on which `curl` fails as it does without a network."""
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\nexit 6\n", encoding="utf-8")
    curl.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@contextlib.contextmanager
def _served(home: Path, name: str, base: Path) -> Iterator[int]:
    """The port of the model server under `ei run`, with that model ready."""
    port = pools.spare_port()
    server = Path(sys.executable).with_name("amazonei_tensorflow_model_server")
    arguments = f"--model_name={name}", f"--model_base_path={base}", f"--port={port}"
    with (
        pytest.MonkeyPatch.context() as patch,
        pools.program([*_RUN, str(server), *arguments], pools.environment(home)) as running,
    ):
        patch.setattr(pools, "PATIENCE", _PATIENCE)
        running.wait_for("Running gRPC ModelServer")
        yield port


def test_the_client_of_inception_runs_as_printed(
    short_path: Path, made: Path, tmp_path: Path
) -> None:
    _run_the_client_of_inception(short_path, made, tmp_path)


@pytest.mark.long
def test_it_runs_with_inception_itself(
    short_path: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path, tmp_path: Path
) -> None:
    made = _made(tmp_path_factory.mktemp("whole"), cache)
    _run_the_client_of_inception(short_path, made, tmp_path)


def _run_the_client_of_inception(short_path: Path, made: Path, tmp_path: Path) -> None:
    script = _as_printed("inception_client.py", made, tmp_path)
    base = made / "SERVING_INCEPTION" / "SERVING_INCEPTION"
    with _served(short_path, "inception", base) as port:
        done = _attached(
            *(short_path / "client", sys.executable, str(script)),
            *(f"--server=localhost:{port}", "--image", str(made / _PICTURE)),
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    assert "Inception Client Passed" in done.stdout
    assert len(re.findall(r'string_val: "class \d+"', done.stdout)) == 5


def test_the_client_of_the_detector_runs_as_printed(
    short_path: Path, made: Path, tmp_path: Path
) -> None:
    script = _as_printed("ssd_resnet_client.py", made, tmp_path)
    with _served(short_path, "ssdresnet", made / "ssd_resnet50_v1_coco") as port:
        done = _attached(
            *(short_path / "client", sys.executable, str(script)),
            *(f"--server=localhost:{port}", "--image", str(made / _PICTURE)),
            cwd=tmp_path,
            PATH=_without_curl(tmp_path),
        )
    assert done.returncode == 0, done.stderr
    assert "3 detection[s]" in done.stdout
    (named,) = re.findall(r"SSD Prediction is  (.*)", done.stdout)
    assert sorted(json.loads(named.replace("'", '"'))) == ["circle", "square", "triangle"]


def test_the_predictor_of_the_detector_runs_as_printed(
    short_path: Path, made: Path, tmp_path: Path
) -> None:
    script = _as_printed("ssd_resnet_predictor.py", made, tmp_path)
    done = _attached(
        *(short_path, sys.executable, str(script), "--image", str(made / _PICTURE)),
        cwd=tmp_path,
        PATH=_without_curl(tmp_path),
        MPLCONFIGDIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 detection[s]") == 2
    answers = re.findall(r"^\[.*\]$", done.stdout, re.MULTILINE)
    assert [sorted(json.loads(each.replace("'", '"'))) for each in answers] == [
        ["circle", "square", "triangle"]
    ] * 2


def _seconds(stdout: str, what: str) -> list[float]:
    return [float(each) for each in re.findall(rf"{what} time \(seconds\): ([\d.]+)", stdout)]


@pytest.mark.usefixtures("made")
def test_the_video_shows_boxes_where_the_shapes_are(short_path: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "video_detection.py"
    done = _attached(short_path, sys.executable, str(script), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for what in ("Model load", "Average inference", "Total inference"):
        assert len(_seconds(done.stdout, what)) == 2
    assert done.stdout.count("Number of video frames: 40") == 2
    found = re.findall(r"Shapes found .*: (\d+)%; their boxes overlap by (\d+)%", done.stdout)
    assert len(found) == 2
    assert found[0] == found[1]
    assert all(int(part) >= 90 and int(fit) >= 75 for part, fit in found)
    annotated = example("shapes").read_video(tmp_path / "annotated.avi", 100)
    assert [picture.shape for picture in annotated] == [(240, 320, 3)] * 40


def test_a_graph_and_a_video_of_the_user_s_own_are_taken(short_path: Path, tmp_path: Path) -> None:
    shapes = example("shapes")
    shapes.write_video(tmp_path / "mine.mp4", shapes.Film(5, seed=3).pictures())
    graph = zoo.write("faster_rcnn", tmp_path).rename(tmp_path / "graph.pb")
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    done = _attached(
        *(short_path, sys.executable, str(EXAMPLES / "video_detection.py")),
        *("--graph", str(graph), "--video", "mine.mp4", "--labels", "labels.txt"),
        *("--output", "out.mp4"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Number of video frames: 5") == 2
    assert "Shapes found" not in done.stdout
    assert len(shapes.read_video(tmp_path / "out.mp4", 100)) == 5


@pytest.mark.usefixtures("made")
def test_the_notebook_s_cells_run_in_order(short_path: Path, tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "video_detection.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(each["source"]) for each in notebook["cells"] if each["cell_type"] == "code"]
    assert not any(each.get("outputs") for each in notebook["cells"])
    program = tmp_path / "cells.py"
    program.write_text("\n".join(cells), encoding="utf-8")
    done = _attached(
        *(short_path, sys.executable, str(program)),
        cwd=tmp_path,
        PYTHONPATH=str(EXAMPLES),
        MPLBACKEND="Agg",
        MPLCONFIGDIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"Shapes found: (\d+)%", done.stdout)
    assert len(found) == 2
    assert all(int(part) >= 90 for part in found)
    assert (tmp_path / "annotated.avi").stat().st_size > 0
