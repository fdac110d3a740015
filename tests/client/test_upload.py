"""Uploads: whole, resumed, skipped, shared, and changed on the way."""

from __future__ import annotations

import hashlib
import os
import pty
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from elastic_inference.client import upload as uploading
from elastic_inference.client.connection import Connection
from elastic_inference.client.progress import Progress
from elastic_inference.client.source import files_of
from elastic_inference.client.upload import upload
from elastic_inference.errors import ElasticInferenceError, InvalidRequestError
from tests.client.conftest import TRANSPORTS, Reachable
from tests.client.models import scaled

X = np.arange(10, dtype=np.float32)
_PART = 8 * 1024 * 1024


def _puts(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[int]:
    """The sizes of the parts that `work` uploads."""
    sizes: list[int] = []
    put = Connection.put

    def recorded(
        self: Connection, path: str, size: int, pieces: Iterable[memoryview], fields: str
    ) -> bytes:
        sizes.append(size)
        return put(self, path, size, pieces, fields)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "put", recorded)
        patch.setattr(uploading, "_PART", _PART)
        work()
    return sizes


def test_a_model_is_uploaded_once_in_parts(
    reachable: Reachable, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = scaled(31, size=20_000_000)
    with reachable.connect("unix") as accelerator:
        sizes = _puts(monkeypatch, lambda: accelerator.load(content).close())
        assert sum(sizes) == len(content)
        assert max(sizes) == _PART
        assert _puts(monkeypatch, lambda: accelerator.load(content).close()) == []
    with reachable.connect("tcp") as another:
        assert _puts(monkeypatch, lambda: another.load(content).close()) == []


def _content_range(last: int, total: int) -> str:
    return f"Content-Range: bytes 0-{last}/{total}\r\n"


def test_an_upload_that_was_cut_off_goes_on(
    mortal: Reachable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(scaled(32, size=20_000_000))
    content = memoryview(path.read_bytes())
    blob = f"/v2/elastic-inference/blobs/{hashlib.sha256(content).hexdigest()}"
    with mortal.connect("tcp", recovery_timeout=60.0) as accelerator:
        link = accelerator._link
        fields = _content_range(_PART - 1, len(content))
        link.call(lambda connection: connection.put(blob, _PART, [content[:_PART]], fields))
        mortal.kill()
        mortal.start()
        sizes = _puts(monkeypatch, lambda: upload(link, files_of(path)))
        assert sum(sizes) == len(content) - _PART
        model = accelerator.load(path)
        np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * 32)


def test_a_file_that_is_all_there_but_was_never_verified(
    reachable: Reachable, transport: str
) -> None:
    """As an accelerator leaves it that is killed after the last byte."""
    factor = 60 + TRANSPORTS.index(transport)
    content = scaled(factor, size=100_000)
    partial = reachable.process.config.store_directory / "partial"
    (partial / hashlib.sha256(content).hexdigest()).write_bytes(content)
    with reachable.connect(transport) as accelerator:
        model = accelerator.load(content)
        np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * factor)


def test_a_file_that_is_all_there_and_wrong_is_uploaded_anew(reachable: Reachable) -> None:
    content = scaled(66, size=100_000)
    partial = reachable.process.config.store_directory / "partial"
    (partial / hashlib.sha256(content).hexdigest()).write_bytes(bytes(len(content)))
    with reachable.connect("unix") as accelerator:
        with pytest.raises(InvalidRequestError, match="hash"):
            accelerator.load(content)
        np.testing.assert_array_equal(accelerator.load(content).run({"x": X}, ["y"])[0], X * 66)


def test_an_empty_file(reachable: Reachable, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(scaled(67))
    files: dict[str, Path | bytes] = {"m.onnx": tmp_path / "m.onnx", "empty.bin": b""}
    with reachable.connect("unix") as accelerator:
        model = accelerator.load(files)
        np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * 67)


def test_a_cut_in_the_middle_of_a_part(reachable: Reachable, transport: str) -> None:
    factor = 50 + TRANSPORTS.index(transport)
    content = memoryview(scaled(factor, size=20_000_000))
    blob = f"/v2/elastic-inference/blobs/{hashlib.sha256(content).hexdigest()}"
    with reachable.connect(transport) as accelerator:
        link = accelerator._link
        connection = link.take()
        assert connection.offer(blob, _PART, _content_range(_PART - 1, len(content))) is None
        connection._send(content[: _PART // 2])
        connection.cut()
        link.drop(connection)
        model = accelerator.load(content)
        np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * factor)


def test_several_clients_upload_one_model(reachable: Reachable) -> None:
    content = scaled(34, size=30_000_000)

    def work(transport: str) -> None:
        with reachable.connect(transport) as accelerator:
            model = accelerator.load(content)
            np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * 34)

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work, name) for name in ("tcp", "tls", "unix")]:
            done.result(100.0)


def test_external_data_over_the_wire(reachable: Reachable, transport: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.load_from_string(scaled(35, size=200_000)),
        str(path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with reachable.connect(transport) as accelerator:
        model = accelerator.load(path)
        np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * 35)
        by_name: dict[str, Path | bytes] = {
            "model.onnx": path,
            "weights.bin": (tmp_path / "weights.bin").read_bytes(),
        }
        again = accelerator.load(by_name)
        assert again.handle == model.handle
        (tmp_path / "weights.bin").unlink()
        with pytest.raises(ElasticInferenceError, match="weights"):
            accelerator.load(path)


def test_a_file_that_changes_after_it_was_hashed(reachable: Reachable, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(scaled(36, size=100_000))
    model = files_of(path)
    path.write_bytes(scaled(37, size=100_000))
    with reachable.connect("unix") as accelerator, pytest.raises(InvalidRequestError):
        upload(accelerator._link, model)


def test_two_models_of_one_form_are_not_confused(reachable: Reachable, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with reachable.connect("unix") as accelerator:
        path.write_bytes(scaled(3))
        first = accelerator.load(path)
        path.write_bytes(scaled(4))
        second = accelerator.load(path)
        assert first.handle != second.handle
        np.testing.assert_array_equal(first.run({"x": X})[0], X * 3)
        np.testing.assert_array_equal(second.run({"x": X})[0], X * 4)


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    total = 100 * 1024 * 1024
    Progress("Uploading m", total).show(total)
    assert capsys.readouterr().err == ""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb", buffering=0) as screen:
        monkeypatch.setattr("sys.stderr", terminal)
        Progress("Uploading small", 1000).show(1000)
        progress = Progress("Uploading m", total)
        progress.show(total // 2)
        progress.show(total)
        shown = ""
        while "\n" not in shown:
            shown += screen.read(4096).decode()
    assert "Uploading m" in shown
    assert "100/100 MiB" in shown
    assert "small" not in shown
