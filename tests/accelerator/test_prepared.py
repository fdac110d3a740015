"""Prepared models on disk: found again, shared, checked, and dropped when they are not sound."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.errors import ModelFormatError
from tests.accelerator import graphs
from tests.accelerator.engines import bits, engine, load, local, place

__all__ = ["engine", "load"]


def test_a_second_load_comes_from_the_cache_and_maps_its_weights(load: Any, tmp_path: Path) -> None:
    data = graphs.linear(700, 700)
    x = {"x": np.ones((1, 700), np.float32)}
    first, second = load(data), load(data)
    assert (first.source, second.source) == ("prepared", "cache")
    weights = tmp_path / "caches" / "m" / "weights.bin"
    assert first.mapped_bytes == second.mapped_bytes == weights.stat().st_size > 700 * 700 * 4
    assert bits(first.run(x)[0]) == bits(second.run(x)[0])
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(str(weights)) >= 2


def test_small_models_are_loaded_directly(load: Any) -> None:
    model = load(graphs.linear())
    assert (model.source, model.mapped_bytes) == ("direct", 0)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "entry.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_corrupt_cache_is_dropped_and_built_again(
    load: Any, tmp_path: Path, name: str, damage: str
) -> None:
    data = graphs.linear(700, 700)
    x = {"x": np.ones((1, 700), np.float32)}
    expected = bits(local(data).run(None, x)[0])
    load(data)
    path = tmp_path / "caches" / "m" / name
    content = path.read_bytes()
    path.unlink()  # a new file, so that the mapping of the loaded model stays whole
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        path.write_bytes(content[:-200] + b"\xff" * 200)
    for source in ("prepared", "cache"):
        model = load(data)
        assert model.source == source
        assert bits(model.run(x)[0]) == expected


def test_a_cache_of_before_the_last_boot_is_not_believed(load: Any, tmp_path: Path) -> None:
    data = graphs.linear(300, 300)
    load(data)
    entry = tmp_path / "caches" / "m" / "entry.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    text = entry.read_text()
    assert boot in text
    entry.write_text(text.replace(boot, "0" * len(boot)))
    assert [load(data).source for _ in range(2)] == ["prepared", "cache"]


PREPARE = """
import sys
from pathlib import Path
from elastic_inference.accelerator.engines import _prepared
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine

def stop(*arguments):
    print("preparing", flush=True)
    sys.stdin.read()

_prepared.keep = stop
folder, cache = Path(sys.argv[1]), Path(sys.argv[2])
files = ModelFiles("m", folder, "model.onnx", cache, 10**7)
OnnxRuntimeEngine("cpu", 1 << 30, 1).load(files, LoadOptions())
"""


def test_a_process_killed_while_it_prepares_leaves_nothing_believed(
    load: Any, tmp_path: Path
) -> None:
    data = graphs.linear(700, 700)
    files = place(tmp_path, "m", data)
    assert files.cache is not None
    with subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(files.directory), str(files.cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"preparing\n"
        (left,) = files.cache.parent.iterdir()
        assert (left / "weights.bin").exists()
        process.send_signal(signal.SIGKILL)
    assert not files.cache.exists()
    x = {"x": np.ones((1, 700), np.float32)}
    for source in ("prepared", "cache"):
        model = load(data)
        assert model.source == source
        assert bits(model.run(x)[0]) == bits(local(data).run(None, x)[0])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs root and mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_the_cache_but_not_the_load(
    engine: OnnxRuntimeEngine, tmp_path: Path, small_disk: Path
) -> None:
    data = graphs.linear(1000, 1000)
    files = place(tmp_path, "m", data)
    on_disk = ModelFiles("m", files.directory, "model.onnx", small_disk / "caches" / "m", len(data))
    for _ in range(2):
        model = engine.load(on_disk, LoadOptions())
        assert model.source == "direct"
        x = {"x": np.ones((1, 1000), np.float32)}
        assert bits(model.run(x)[0]) == bits(local(data).run(None, x)[0])
        model.close()
        assert list((small_disk / "caches").iterdir()) == []
    with pytest.raises(OSError, match="No space left") as caught:
        (small_disk / "filler").write_bytes(b"x" * (4 << 20))
    assert caught.value.errno == errno.ENOSPC


def test_external_data_is_loaded_and_prepared(engine: OnnxRuntimeEngine, tmp_path: Path) -> None:
    data = graphs.linear(700, 700)
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        onnx.load_from_string(data),
        str(folder / "main.onnx"),
        save_as_external_data=True,
        location="weights of mine.bin",
    )
    files = ModelFiles("m", folder, "main.onnx", tmp_path / "caches" / "m", len(data))
    x = {"x": np.ones((1, 700), np.float32)}
    for source in ("prepared", "cache"):
        model = engine.load(files, LoadOptions())
        assert model.source == source
        assert bits(model.run(x)[0]) == bits(local(data).run(None, x)[0])
        model.close()
    (folder / "weights of mine.bin").unlink()
    with pytest.raises(ModelFormatError, match="weights of mine"):
        engine.load(files, LoadOptions())
