"""How much of the disk an account's store takes, and what makes room for more.

Uploads under way reserve what they will need, so that those at the same time, of any process
of the account, stay within the limit together:

    reserved/SHA256     an empty file whose length is what that upload will have; it counts
                        while `partial/SHA256` is locked, and is left behind otherwise
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.errors import LimitExceededError, UnavailableError
from elastic_inference.settings import Limits

LOCK = "lock"
_LOCK_RETRY = 0.02


@dataclass(frozen=True, slots=True)
class _Item:
    path: Path
    size: int
    used: float


class Space:
    """The room of a store's folders below `directory`."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._limits = limits
        self._blobs, self._unverified, self._partial, self._caches, self._reserved = (
            directory / name for name in ("blobs", "unverified", "partial", "caches", "reserved")
        )
        self._models = directory / "models"
        self._reserved.mkdir(mode=0o770, parents=True, exist_ok=True)
        self._lock = directory / "space.lock"

    @contextmanager
    def reserve(self, digest: str, total: int) -> Iterator[None]:
        """Have room for the upload of `total` bytes, whose partial file the caller has locked.

        Raises:
            what `make_room` does.
        """
        path, partial = self._reserved / digest, self._partial / digest
        with self._one_at_a_time():
            path.unlink(missing_ok=True)
            self._make_room(total - partial.stat().st_size, partial)
            with path.open("wb") as file:
                # Takes no room itself, unlike the upload.
                file.truncate(total)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def make_room(self, wanted: int) -> None:
        """Evict what was not used for longest until `wanted` bytes more are allowed.

        Raises:
            LimitExceededError: what is in use leaves no such room.
            UnavailableError: another process of the account does not end its own try.
        """
        with self._one_at_a_time():
            self._make_room(wanted, None)

    def used(self) -> int:
        """Bytes that uploads and caches take, or have reserved."""
        return sum(item.size for item in self._items())

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        deadline = time.monotonic() + self._limits.receive_timeout
        try:
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        "Another accelerator of the account keeps the store to itself.",
                        next_step="Repeat the request later.",
                    )
                time.sleep(_LOCK_RETRY)
            yield
        finally:
            os.close(lock)

    def _make_room(self, wanted: int, own: Path | None) -> None:
        items = self._items()
        free = self._limits.max_store - sum(item.size for item in items)
        if free < wanted:
            self._forget_dead_models()
        for item in sorted(items, key=lambda item: item.used):
            if free >= wanted:
                return
            if item.path != own and self._evict(item.path):
                free += item.size
        if free < wanted:
            raise LimitExceededError(
                f"The account's disk space of {self._limits.max_store} bytes is used up.",
                next_step="Unload models that are not needed; EI_MAX_STORE sets the limit.",
            )

    def _forget_dead_models(self) -> None:
        """Take away the links of ended processes' models, which keep blobs from giving way."""
        with suppress(FileNotFoundError):
            for path in self._models.iterdir():
                remove_unlocked(path, path)

    def _items(self) -> list[_Item]:
        found = [
            _Item(path, seen.st_size, seen.st_mtime)
            for folder in (self._blobs, self._unverified)
            for path, seen in _files(folder)
        ]
        for path, seen in _files(self._partial):
            size = max(seen.st_size, self._reservation(path))
            found.append(_Item(path, size, seen.st_mtime))
        for path in self._caches.iterdir():
            with suppress(OSError):
                size = sum(seen.st_size for _, seen in _files(path))
                found.append(_Item(path, size, (path / LOCK).stat().st_mtime))
        return found

    def _reservation(self, partial: Path) -> int:
        reserved = self._reserved / partial.name
        with suppress(FileNotFoundError):
            size = reserved.stat().st_size
            with partial.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return size
                # Its upload ended with the process that had reserved it.
                reserved.unlink(missing_ok=True)
        return 0

    def _evict(self, path: Path) -> bool:
        if path.parent == self._caches:
            return remove_unlocked(path, path / LOCK)
        if path.parent == self._partial:
            return _unlink_unlocked(path)
        with suppress(FileNotFoundError):
            if path.stat().st_nlink > 1:
                return False
            path.unlink()
        return True


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files in a folder that may change meanwhile. A store may have thousands."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def remove_unlocked(path: Path, lock_path: Path) -> bool:
    """Remove the folder `path` unless a process holds its lock."""
    try:
        lock = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _unlink_unlocked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
