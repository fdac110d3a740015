"""Where plans are kept: a folder for each, named by all that it depends on.

A folder is there whole or not at all. One process at a time makes a plan; others that want it
wait for its lock, which ends with the process that holds it. Those not used for longest go where
the cache passes its size.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from elastic_inference.client.source import files_of
from elastic_inference.errors import ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.plan import DOCUMENT, FORMAT, Plan, read
from elastic_inference.frameworks.tensorflow.request import document_of
from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL
from elastic_inference.frameworks.tensorflow.source import Source

# Of the rules by which plans are made: another number makes all anew.
_RULES = 4
_PACKAGES = ("tf2onnx", "onnx", "onnxruntime", "numpy")
_TENSORFLOWS = (
    "tensorflow-cpu",
    "tensorflow",
    "tf-nightly",
    "tensorflow-cpu-aws",
    "tf-nightly-cpu",
)
_NEW = ".new-"
_LOCK = ".lock"
_MAINS = (SAVED_MODEL, f"{SAVED_MODEL}txt")
# Of a SavedModel; what else lies there changes nothing that a graph gives.
_PARTS = ("variables", "assets")
_ABANDONED_S = 24 * 3600.0


class Cache:
    """The plans of this user.

    Args:
        folder: where they are.
        most: bytes that they may have together.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most

    def path(self, key: str) -> Path:
        """Where the plan of that key is or will be."""
        return self._folder / key

    def find(self, key: str) -> Plan | None:
        """The plan of that key, if it is there and whole."""
        try:
            plan = read(self.path(key))
        except (FileNotFoundError, ModelFormatError):
            return None
        with contextlib.suppress(OSError):
            os.utime(self.path(key) / DOCUMENT)
        return plan

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Wait until nobody else makes that plan, and keep others from it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{key}{_LOCK}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever had it may have taken the file away meanwhile.
                if _is_same(descriptor, path):
                    yield
                    path.unlink(missing_ok=True)
                    return
            finally:
                os.close(descriptor)

    def new_folder(self) -> Path:
        """A folder to make a plan in."""
        folder = self._folder / f"{_NEW}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        return folder

    def keep(self, folder: Path, key: str) -> Plan:
        """The plan that was made in `folder`, in its place."""
        target = self.path(key)
        if target.exists():
            discard = self._folder / f"{_NEW}{secrets.token_hex(8)}"
            target.rename(discard)
            shutil.rmtree(discard, ignore_errors=True)
        folder.rename(target)
        self._forget_oldest(key)
        return read(target)

    def _forget_oldest(self, kept: str) -> None:
        entries = []
        for folder in self._folder.iterdir():
            if folder.name.startswith(_NEW):
                if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir() and (folder / DOCUMENT).is_file():
                entries.append(((folder / DOCUMENT).stat().st_mtime_ns, folder))
        sizes = {folder: _size(folder) for _, folder in entries}
        total = sum(sizes.values())
        for _, folder in sorted(entries):
            if total <= self._most:
                return
            if folder.name != kept:
                total -= sizes[folder]
                shutil.rmtree(folder, ignore_errors=True)


def default_folder() -> Path:
    """Where this user's plans are."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    parent = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
    return parent / "elastic-inference" / "plans"


def key_of(source: Source, made_with: Mapping[str, str]) -> str:
    """A name for the plan of `source`, of all that the plan depends on.

    Raises:
        NotFoundError: there is no such model.
        ModelFormatError: a file of it is empty or cannot be read.
    """
    document = document_of(source)
    del document["path"]
    files = _files(source)
    hashed = files_of(dict(files.items()))
    document["files"] = {name: blob.sha256 for name, blob in hashed.files.items()}
    document["names"] = sorted(files)
    document["text"] = source.is_frozen and source.path.suffix
    document["made_with"] = dict(made_with)
    document["format"] = [FORMAT, _RULES]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _files(source: Source) -> dict[str, Path]:
    if source.is_frozen:
        return {source.path.name: source.path}
    names = [name for name in _MAINS if (source.path / name).is_file()]
    if not names:
        raise NotFoundError(
            f"There is no model in {source.path}: it is no file, and has no {SAVED_MODEL}.",
            next_step="Give a SavedModel's folder, or the file of a frozen graph.",
        )
    files = {names[0]: source.path / names[0]}
    for part in _PARTS:
        for path in sorted((source.path / part).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(source.path))] = path
    return files


def versions() -> dict[str, str]:
    """Versions of what plans are made with, by package; found without loading any."""
    found = {}
    for name in (*_PACKAGES, *_TENSORFLOWS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
