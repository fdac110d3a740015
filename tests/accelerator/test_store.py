"""Uploads by content hash: resumed, verified, bounded, and safe between processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elastic_inference.accelerator.store import BlobStore
from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PayloadTooLargeError,
    UnavailableError,
)
from elastic_inference.settings import Limits

DATA = os.urandom(100_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store", Limits())


def parts(data: bytes, size: int = 7_000) -> Iterator[memoryview]:
    for at in range(0, len(data), size):
        yield memoryview(data)[at : at + size]


def test_a_blob_is_stored_whole(store: BlobStore) -> None:
    assert store.status(DIGEST) == (0, False)
    assert store.append(DIGEST, 0, len(DATA), parts(DATA)) == (len(DATA), True)
    assert store.status(DIGEST) == (len(DATA), True)
    assert store.append(DIGEST, 0, len(DATA), parts(DATA)) == (len(DATA), True)
    assert store.used() == len(DATA)


def test_an_empty_blob_is_a_blob(store: BlobStore) -> None:
    digest = store.put(b"")
    assert store.status(digest) == (0, True)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 9_999), max_size=6), st.booleans())
def test_an_upload_goes_on_where_it_ended(tmp_path: Path, cuts: list[int], restart: bool) -> None:
    directory = tmp_path / os.urandom(8).hex()
    data = DATA[:10_000]
    digest = hashlib.sha256(data).hexdigest()
    store = BlobStore(directory, Limits())
    at = 0
    for cut in [*sorted(set(cuts)), len(data)]:
        if restart:
            store = BlobStore(directory, Limits())
        assert store.status(digest) == (at, False)
        assert store.append(digest, at, len(data), parts(data[at:cut], 999))[0] == cut
        at = cut
    assert store.status(digest) == (len(data), True)
    with_it = store.assemble({"f": digest})
    assert (with_it.directory / "f").read_bytes() == data


def test_what_came_before_a_failure_is_kept(store: BlobStore) -> None:
    def broken() -> Iterator[memoryview]:
        yield memoryview(DATA)[:40_000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.append(DIGEST, 0, len(DATA), broken())
    assert store.status(DIGEST) == (40_000, False)
    assert store.append(DIGEST, 40_000, len(DATA), parts(DATA[40_000:]))[1]


def test_another_offset_is_a_conflict(store: BlobStore) -> None:
    store.append(DIGEST, 0, len(DATA), parts(DATA[:50]))
    for start in (0, 49, 51):
        with pytest.raises(ConflictError, match="byte 50"):
            store.append(DIGEST, start, len(DATA), parts(DATA[start:]))
    assert store.status(DIGEST) == (50, False)


def test_a_wrong_hash_starts_again(store: BlobStore) -> None:
    with pytest.raises(InvalidRequestError, match="hash"):
        store.append(DIGEST, 0, 5, [memoryview(b"wrong")])
    assert store.status(DIGEST) == (0, False)
    with pytest.raises(NotFoundError):
        store.assemble({"f": DIGEST})


def test_a_part_damaged_on_disk_is_found_at_the_end(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits())
    store.append(DIGEST, 0, len(DATA), parts(DATA[:50_000]))
    (tmp_path / "partial" / DIGEST).write_bytes(b"x" * 50_000)
    again = BlobStore(tmp_path, Limits())
    with pytest.raises(InvalidRequestError, match="hash"):
        again.append(DIGEST, 50_000, len(DATA), parts(DATA[50_000:]))


def test_sizes_are_bounded(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits(max_model_size=1000))
    with pytest.raises(PayloadTooLargeError):
        store.append(DIGEST, 0, 1001, [])
    with pytest.raises(PayloadTooLargeError):
        store.append(DIGEST, 0, 10, [memoryview(DATA)[:11]])
    for digest in ("", "x" * 64, "../" + "a" * 61, DIGEST.upper()):
        with pytest.raises(InvalidRequestError):
            store.append(digest, 0, 1, [])
        with pytest.raises(InvalidRequestError):
            store.status(digest)
    with pytest.raises(InvalidRequestError):
        store.append(DIGEST, 5, 4, [])


def test_threads_that_upload_one_blob_share_it(store: BlobStore) -> None:
    failures: list[BaseException] = []

    def upload() -> None:
        try:
            assert store.put(DATA) == DIGEST
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.status(DIGEST) == (len(DATA), True)
    assert store.used() == len(DATA)


UPLOAD = """
import sys
from pathlib import Path
from elastic_inference.accelerator.store import BlobStore
from elastic_inference.settings import Limits

def chunks():
    yield memoryview(b"a" * 1000)
    print("half", flush=True)
    sys.stdin.read()

BlobStore(Path(sys.argv[1]), Limits()).append(sys.argv[2], 0, 2000, chunks())
"""


def test_a_killed_upload_is_resumed_by_another_process(tmp_path: Path) -> None:
    data = b"a" * 1000 + b"b" * 1000
    digest = hashlib.sha256(data).hexdigest()
    with subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(tmp_path), digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        store = BlobStore(tmp_path, Limits(receive_timeout=0.05))
        with pytest.raises(ConflictError, match="under way"):
            store.append(digest, 1000, 2000, [memoryview(data)[1000:]])
        process.send_signal(signal.SIGKILL)
    assert store.append(digest, 1000, 2000, [memoryview(data)[1000:]]) == (2000, True)


def test_uploads_at_one_time_share_the_space(tmp_path: Path) -> None:
    """Another process's upload has reserved what it announced, until it ends however it does."""
    digest = hashlib.sha256(b"a" * 2000).hexdigest()
    with subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(tmp_path), digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        store = BlobStore(tmp_path, Limits(max_store=2500, receive_timeout=0.05))
        with pytest.raises(LimitExceededError, match="2500"):
            store.put(b"y" * 1000)
        assert store.used() == 2000
        with pytest.raises(ConflictError, match="under way"):
            store.put(b"a" * 2000)
        process.send_signal(signal.SIGKILL)
    assert store.used() == 1000
    store.put(b"y" * 1500)
    assert store.used() == 2500
    assert store.status(digest) == (1000, False)


def test_uploads_that_nobody_goes_on_with_give_way(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits(max_store=2500))
    digest = hashlib.sha256(b"a" * 2000).hexdigest()
    assert store.append(digest, 0, 2000, [memoryview(b"a" * 1500)]) == (1500, False)
    store.put(b"y" * 1200)
    assert store.status(digest) == (0, False)
    assert list((tmp_path / "reserved").iterdir()) == []
    assert store.used() == 1200


def test_blobs_of_before_the_last_boot_are_verified_anew(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits())
    sound, damaged = store.put(b"sound"), store.put(b"damaged")
    (tmp_path / "boot").write_bytes(b"another boot")
    (tmp_path / "blobs" / damaged).write_bytes(b"\0" * 7)
    again = BlobStore(tmp_path, Limits())
    assert (again.status(sound), again.status(damaged)) == ((5, True), (0, False))
    with pytest.raises(NotFoundError):
        again.assemble({"f": damaged})
    assert (again.assemble({"f": sound}).directory / "f").read_bytes() == b"sound"
    assert BlobStore(tmp_path, Limits()).status(sound) == (5, True)


# Models


def test_a_model_is_its_files_under_their_names(store: BlobStore) -> None:
    one, two = store.put(b"one"), store.put(b"two!")
    assembled = store.assemble({"model.onnx": one, "data/weights.bin": two, "copy": one})
    assert assembled.size == 10
    assert (assembled.directory / "data" / "weights.bin").read_bytes() == b"two!"
    assert (assembled.directory / "copy").read_bytes() == b"one"
    assembled.release()
    assert not assembled.directory.exists()
    assert store.status(one) == (3, True)


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a\0b", "x" * 600, "\udcff",
     "/".join("a" * 20)],
)  # fmt: skip
def test_names_outside_the_model_are_refused(store: BlobStore, name: str) -> None:
    digest = store.put(b"x")
    with pytest.raises(InvalidRequestError):
        store.assemble({name: digest})


def test_a_name_that_is_also_a_folder_is_refused_or_fails_cleanly(
    store: BlobStore, tmp_path: Path
) -> None:
    digest = store.put(b"x")
    with pytest.raises(InvalidRequestError):
        store.assemble({"a": digest, "a/b": digest})
    assert list((tmp_path / "store" / "models").iterdir()) == []


def test_only_what_was_uploaded_whole_opens(store: BlobStore) -> None:
    store.append(DIGEST, 0, len(DATA), parts(DATA[:50]))
    with pytest.raises(NotFoundError, match="not stored"):
        store.assemble({"model.onnx": DIGEST})


def test_folders_of_ended_processes_are_cleaned_and_those_of_others_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits())
    kept = store.assemble({"f": store.put(b"x")})
    left = tmp_path / "models" / "left"
    left.mkdir()
    (left / "f").write_bytes(b"x")
    unfinished = tmp_path / "caches" / ".new-1"
    unfinished.mkdir()
    (unfinished / "lock").touch()
    BlobStore(tmp_path, Limits())
    assert not left.exists()
    assert not unfinished.exists()
    assert kept.directory.exists()


# Room


def fill(store: BlobStore, count: int) -> list[str]:
    digests = []
    for index in range(count):
        digest = store.put(bytes([index]) * 1000)
        os.utime(store._blobs / digest, (index, index))
        digests.append(digest)
    return digests


def test_what_was_not_used_for_longest_gives_way(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits(max_store=3500))
    old, middle, new = fill(store, 3)
    held = store.assemble({"f": old})
    os.utime(store._blobs / old, (0, 0))
    cache = tmp_path / "caches" / "c"
    cache.mkdir()
    (cache / "model.onnx").write_bytes(b"x" * 400)
    (cache / "lock").touch()
    os.utime(cache / "lock", (-1, -1))
    store.put(b"y" * 1000)
    assert not cache.exists()
    assert [store.status(digest)[1] for digest in (old, middle, new)] == [True, False, True]
    held.release()


def test_a_cache_in_use_stays(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits(max_store=1200))
    cache = tmp_path / "caches" / "c"
    cache.mkdir()
    (cache / "model.onnx").write_bytes(b"x" * 1000)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(LimitExceededError, match="1200"):
            store.put(b"y" * 1000)
        assert cache.exists()
    store.put(b"y" * 1000)
    assert not cache.exists()


def test_models_in_use_are_never_evicted(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, Limits(max_store=2500))
    one, two = fill(store, 2)
    held = store.assemble({"f": one, "g": two})
    with pytest.raises(LimitExceededError):
        store.put(b"z" * 1000)
    assert store.cache_folder("h", "f", 1000) is None
    held.release()
    assert store.cache_folder("h", "f", 1000) is not None
    assert store.status(one) == (0, False)


def test_models_of_a_process_that_has_ended_give_way(tmp_path: Path) -> None:
    """Another of the account goes on, and needs the room."""
    store = BlobStore(tmp_path, Limits(max_store=250_000))
    code = """
import sys
from pathlib import Path
from elastic_inference.accelerator.store import BlobStore
from elastic_inference.settings import Limits
store = BlobStore(Path(sys.argv[1]), Limits())
for byte in (b"a", b"b"):
    store.assemble({"m.onnx": store.put(byte * 100_000)})
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert len(list((tmp_path / "models").iterdir())) == 2
    store.put(b"c" * 100_000)
    store.put(b"d" * 100_000)
    assert store.used() <= 250_000


def test_the_folder_of_a_model_is_made_while_dead_ones_are_taken_away(tmp_path: Path) -> None:
    """One that was just made is not locked yet, and looks like one that was left behind."""
    store = BlobStore(tmp_path, Limits())
    digest = store.put(b"x")
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            store._space._forget_dead_models()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(300):
            held = store.assemble({"f": digest})
            assert (held.directory / "f").read_bytes() == b"x"
            held.release()
    finally:
        over.set()
        sweeper.join()


def test_a_full_disk_is_told_and_the_part_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs root and mount")
    try:
        store = BlobStore(folder, Limits())
        data = os.urandom(2 << 20)
        digest = hashlib.sha256(data).hexdigest()
        with pytest.raises(UnavailableError, match="disk is full"):
            store.append(digest, 0, len(data), parts(data))
        offset, complete = store.status(digest)
        assert not complete
        assert 0 < offset < len(data)
        resize = ["mount", "-o", "remount,size=8m", str(folder)]
        subprocess.run(resize, check=True)
        assert store.append(digest, offset, len(data), parts(data[offset:])) == (len(data), True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_cache_folders_differ_by_model_and_machine(store: BlobStore) -> None:
    folders: set[Any] = {
        store.cache_folder(handle, machine, 1) for handle in "ab" for machine in "cd"
    }
    assert len(folders) == 4
