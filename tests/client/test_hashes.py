"""Hashes that are remembered: between processes, and never of what a file was before."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elastic_inference.client import hashes
from elastic_inference.client.source import MAIN, files_of

SIZE = 2 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the hashes, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hashes._remembered.clear()
    yield tmp_path / "cache" / "elastic-inference" / "hashes"
    hashes._remembered.clear()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are remembered however recently they changed."""
    monkeypatch.setattr(hashes, "_SETTLED_NS", -(1 << 62))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a" * SIZE)
    return path


def sha256(path: Path) -> str:
    """What the client takes the file's hash to be."""
    return files_of({MAIN: path}).files[MAIN].sha256


def true(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(cache: Path) -> Path:
    (path,) = cache.iterdir()
    return path


def lie(path: Path) -> str:
    """Put another hash into an entry, to be recognised."""
    told = "5" * 64
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": told}))
    hashes._remembered.clear()
    return told


@pytest.mark.usefixtures("at_once")
def test_a_hash_is_found_again_in_another_process(model: Path, cache: Path) -> None:
    assert sha256(model) == true(model)
    told = lie(entry(cache))
    script = (
        "import sys; from elastic_inference.client.source import files_of;"
        "print(files_of({'model.onnx': sys.argv[1]}).files['model.onnx'].sha256)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, str(model)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == told
    assert sha256(model) == told
    assert (cache.stat().st_mode & 0o777) == 0o700


def test_a_file_that_just_changed_is_not_remembered(model: Path, cache: Path) -> None:
    assert sha256(model) == true(model)
    assert hashes._remembered == {}
    assert not cache.exists()


def change_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(os.urandom(8))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(os.urandom(SIZE))
    other.rename(path)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("change", [change_in_place, replace])
@pytest.mark.parametrize("same_process", [True, False])
def test_a_changed_file_of_the_same_size_and_time_is_hashed_anew(
    model: Path, change: Callable[[Path], None], *, same_process: bool
) -> None:
    before, status = sha256(model), model.stat()
    # Until the kernel's clock has gone on by a tick.
    while model.stat().st_ctime_ns == status.st_ctime_ns:
        change(model)
        os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = model.stat()
    assert (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    if not same_process:
        hashes._remembered.clear()
    assert sha256(model) == true(model) != before


@pytest.mark.usefixtures("at_once")
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = hashes.FileHash

    def disturbed(*arguments: object) -> hashes.FileHash:
        replaced = model.stat()
        while model.stat().st_ctime_ns == replaced.st_ctime_ns:
            change_in_place(model)
        return scan(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(hashes, "FileHash", disturbed)
    sha256(model)
    assert hashes._remembered == {}
    assert not cache.exists()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"sha256": 5}',
        b"[" * 100_000,
        b" " * (1 << 20),
        json.dumps({"file": ["other"], "sha256": "5" * 64, "locations": []}).encode(),
    ],
)
def test_an_entry_that_is_not_sound_is_not_believed(
    model: Path, cache: Path, content: bytes
) -> None:
    sha256(model)
    entry(cache).write_bytes(content)
    hashes._remembered.clear()
    assert sha256(model) == true(model)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("field", ["sha256", "locations"])
def test_an_entry_with_a_wrong_field_is_not_believed(model: Path, cache: Path, field: str) -> None:
    sha256(model)
    path = entry(cache)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: "not this"}))
    hashes._remembered.clear()
    found = files_of({MAIN: model}).files[MAIN]
    assert (found.sha256, found.locations) == (true(model), frozenset())


@pytest.mark.usefixtures("at_once")
def test_a_folder_that_others_may_write_is_not_used(model: Path, cache: Path) -> None:
    sha256(model)
    lie(entry(cache))
    cache.chmod(0o777)
    assert sha256(model) == true(model)
    entry(cache).unlink()
    hashes._remembered.clear()
    assert sha256(model) == true(model)
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("at_once")
def test_a_cache_that_cannot_be_used_is_no_failure(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert sha256(model) == true(model)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    hashes._remembered.clear()
    assert sha256(model) == true(model)


@pytest.mark.usefixtures("at_once")
def test_the_oldest_are_forgotten(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_MAX_ENTRIES", 3)
    names = []
    for number in range(5):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(bytes([number]) * SIZE)
        sha256(path)
        (newest,) = (item for item in cache.iterdir() if item.name not in names)
        os.utime(newest, (number, number))
        names.append(newest.name)
    assert {item.name for item in cache.iterdir()} == set(names[-3:])


@pytest.mark.usefixtures("at_once")
def test_small_files_are_not_written_down(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(b"small")
    assert sha256(path) == true(path)
    assert len(hashes._remembered) == 1
    assert not cache.exists()
