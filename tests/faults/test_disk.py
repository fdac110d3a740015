"""A disk that is full, while models are uploaded and while they are prepared."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.accelerator.graphs import linear
from tests.accelerator.http_client import Wire, error_of, infer, load, scale_model
from tests.faults.conftest import Bystander, Footprint, X, until
from tests.faults.test_models import load_files, upload
from tests.processes import AcceleratorProcess

Start = Callable[..., AcceleratorProcess]
MIB = 1 << 20


def run(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


class Disk:
    """A small file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, size: int) -> None:
        assert run("mount", "-o", f"remount,size={size}", str(self.path))

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.path / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    def free(self) -> None:
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={16 * MIB}", "none", str(path))
    if os.geteuid() != 0 or not run(*mount):
        pytest.skip("a small file system needs root and mount")
    try:
        yield Disk(path)
    finally:
        assert run("umount", "-l", str(path))


@pytest.fixture
def process(start_accelerator: Start, disk: Disk) -> AcceleratorProcess:
    made = start_accelerator(store_directory=disk.path)
    load(made, "bystander", scale_model(2))
    load(made, "victim", scale_model(3))
    return made


@pytest.fixture
def beside(process: AcceleratorProcess) -> Iterator[Bystander]:
    footprint = Footprint(process)
    other = Bystander(process)
    try:
        yield other
        other.goes_on()
        assert process.process.poll() is None
    finally:
        other.stop()
    footprint.back()


def test_while_uploading(process: AcceleratorProcess, disk: Disk, beside: Bystander) -> None:
    data = np.random.default_rng(0).bytes(24 * MIB)
    digest = hashlib.sha256(data).hexdigest()
    path = f"/v2/elastic-inference/blobs/{digest}"
    with Wire(process) as wire:
        # In parts, so that each is refused with an answer and not with a broken connection.
        offset, status = 0, 200
        while status == 200:
            part = data[offset : offset + MIB]
            headers = (f"Content-Range: bytes {offset}-{offset + len(part) - 1}/{len(data)}",)
            status, fields, body = wire.request("PUT", path, part, headers=headers)
            if status == 200:
                offset = json.loads(body)["offset"]
        status, error = error_of((status, fields, body))
        assert (status, "disk is full" in error) == (503, True)
        assert infer(wire, "victim").tolist() == (X * 3).tolist(), "the connection goes on"
        beside.goes_on()
        disk.resize(64 * MIB)
        stored = json.loads(wire.request("GET", path)[2])
        assert not stored["complete"]
        assert offset <= stored["offset"] < len(data)
        rest = data[stored["offset"] :]
        headers = (f"Content-Range: bytes {stored['offset']}-{len(data) - 1}/{len(data)}",)
        assert wire.request("PUT", path, rest, headers=headers)[0] == 201


def test_while_preparing_a_model(
    process: AcceleratorProcess, disk: Disk, beside: Bystander
) -> None:
    """The prepared form is a convenience: without room for it the model runs all the same."""
    x = np.random.default_rng(1).random((1, 1024), np.float32)
    disk.resize(64 * MIB)
    caches = disk.path / "caches"
    with Wire(process) as wire:
        digest = upload(wire, linear(1024, 1024))
        kept = sorted(caches.iterdir())
        found = []
        for full in (True, False):
            if full:
                disk.fill()
            status, document = load_files(wire, {"m.onnx": digest}, "m.onnx")
            assert status == 200, document
            beside.goes_on()
            until("nothing being prepared", lambda: not _preparing(wire))
            found.append(infer(wire, document["name"], x))
            if full:
                assert sorted(caches.iterdir()) == kept, "no half of a prepared model stays"
                disk.free()
            unload = f"/v2/repository/models/{document['name']}/unload"
            assert wire.request("POST", unload)[0] == 200
        assert np.allclose(found[0], found[1])
        assert len(sorted(caches.iterdir())) == len(kept) + 1, "with room it is prepared"


def _preparing(wire: Wire) -> bool:
    raw = wire.request("GET", "/v2/elastic-inference/accelerator")[2]
    return bool(json.loads(raw)["preparing"])


def test_where_not_even_a_folder_can_be_made(
    process: AcceleratorProcess, disk: Disk, beside: Bystander
) -> None:
    with Wire(process) as wire:
        digest = upload(wire, linear(seed=9))
        usage = os.statvfs(disk.path)
        inodes = usage.f_files - usage.f_ffree
        assert run("mount", "-o", f"remount,nr_inodes={inodes}", str(disk.path))
        status, document = load_files(wire, {"m.onnx": digest}, "m.onnx")
        assert (status, "disk is full" in document["error"]) == (503, True)
        assert infer(wire, "victim").tolist() == (X * 3).tolist()
        beside.goes_on()
