"""An account's files on a node: uploads by content hash, and prepared models.

    blobs/SHA256        uploaded whole and verified since the machine started
    unverified/SHA256   the same from before; files are not forced to the disk, so a machine
                        that stopped may have lost some of their content
    partial/SHA256      uploads that are not complete; kept over restarts, while there is room
    caches/KEY/…        prepared models, which an engine writes
    models/RANDOM/…     hard links under the names a model gives its files, while it is loaded

Several accelerators of the account, each a process, share one store. Locks are `flock`s, which
end with their process however it ends. A blob with more than one link belongs to a loaded
model; neither it nor a locked cache is ever evicted.

The processes may have users of their own, and then share a group: the directory gives its group to
what lies in it, and the modes let the group do what the owner may. Others are kept out by the
directory's own mode.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import queue
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from elastic_inference.accelerator.space import LOCK, Space, remove_unlocked
from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PayloadTooLargeError,
    UnavailableError,
)
from elastic_inference.protocol.host import boot_id
from elastic_inference.protocol.tensors import Buffer
from elastic_inference.settings import Limits

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_FILES = 4096
_MAX_NAME = 512
_MAX_HASHERS = 64
# Small enough to stay in the processor's cache, and for the heap to use again.
_HASH_STEP = 256 * 1024
_LOCK_RETRY = 0.02
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class Assembled:
    """A model's files under their own names; `release` when the model is closed.

    Attributes:
        directory: holds the files.
        size: bytes of all files together.
    """

    directory: Path
    size: int
    _lock: int

    def release(self) -> None:
        if self._lock >= 0:
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


class BlobStore:
    """The store of one account in `directory`."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._limits = limits
        self._blobs, self._unverified, self._partial, self._caches, self._models = (
            directory / name for name in ("blobs", "unverified", "partial", "caches", "models")
        )
        for folder in (
            self._blobs, self._unverified, self._partial, self._caches, self._models,
        ):  # fmt: skip
            folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        self._space = Space(directory, limits)
        self._lock = threading.Lock()
        self._hashers: dict[str, tuple[int, Any]] = {}
        self._clean()
        self._doubt_older_blobs(directory / "boot")

    # Uploads

    def status(self, digest: str) -> tuple[int, bool]:
        """How many bytes of the blob are stored, and whether it is complete."""
        _check_digest(digest)
        if (self._unverified / digest).exists():
            self._verify(digest)
        with suppress(FileNotFoundError):
            return (self._blobs / digest).stat().st_size, True
        with suppress(FileNotFoundError):
            return (self._partial / digest).stat().st_size, False
        return 0, False

    def append(
        self, digest: str, start: int, total: int, chunks: Iterable[Buffer]
    ) -> tuple[int, bool]:
        """Store a part of a blob: `chunks`, which begin at byte `start` of `total`.

        What arrived before a failure stays stored.

        Returns:
            What `status` does.

        Raises:
            ConflictError: `start` is not the stored offset, or another upload of this blob
                is under way.
            PayloadTooLargeError: `total` is over the limit, or more than `total` came.
            InvalidRequestError: the whole does not have the hash; the upload starts again.
            LimitExceededError: the account's disk space is used up.
            UnavailableError: the disk is full.
        """
        _check_digest(digest)
        if not 0 <= start <= total:
            raise InvalidRequestError("The part does not lie within the upload.")
        if total > self._limits.max_model_size:
            raise PayloadTooLargeError(
                f"The file has {total} bytes, more than {self._limits.max_model_size}.",
                next_step="EI_MAX_MODEL_SIZE of the pool sets the limit.",
            )
        done = self.status(digest)
        if done[1]:
            return done
        with self._open_partial(digest) as file:
            stored = os.fstat(file).st_size
            done = self.status(digest)
            if done[1]:
                (self._partial / digest).unlink(missing_ok=True)
                return done
            if stored != start:
                raise ConflictError(
                    f"The upload goes on at byte {stored}, not {start}.",
                    next_step="Ask for the offset and send from there.",
                )
            with _disk_errors(), self._space.reserve(digest, total):
                stored = self._write(digest, file, start, total, chunks)
                if stored == total:
                    self._complete(digest, file, total)
        return self.status(digest)

    def put(self, data: bytes) -> str:
        """Store `data` whole; its hash.

        Raises:
            ConflictError: another upload of the same is under way, and does not go on.
            what `append` does.
        """
        digest = hashlib.sha256(data).hexdigest()
        offset, complete = self.status(digest)
        seen = -1
        while not complete:
            part = memoryview(data)[offset:]
            try:
                offset, complete = self.append(digest, offset, len(data), [part])
            except ConflictError:
                offset, complete = self.status(digest)
                if not complete and offset <= seen:
                    raise
                seen = offset
        return digest

    # Models

    def assemble(self, files: Mapping[str, str]) -> Assembled:
        """A private folder with the blobs `files` (name to hash) under their names.

        Raises:
            InvalidRequestError: a name that is not a plain relative path.
            NotFoundError: a blob that this account did not upload whole.
        """
        if not 0 < len(files) <= _MAX_FILES:
            raise InvalidRequestError(f"A model has from 1 to {_MAX_FILES} files.")
        for name, digest in files.items():
            _check_name(name)
            _check_digest(digest)
        with _disk_errors():
            assembled = self._new_folder()
        directory = assembled.directory
        try:
            with _disk_errors():
                for name, digest in files.items():
                    assembled.size += self._link(digest, directory / name)
        except BaseException:
            assembled.release()
            raise
        return assembled

    def cache_folder(self, handle: str, fingerprint: str, size: int) -> Path | None:
        """Where the engine `fingerprint` may keep its prepared form of the model `handle`.

        None if there is none yet and `size` bytes more do not fit in the account's space.
        """
        folder = self._caches / hashlib.sha256(f"{handle} {fingerprint}".encode()).hexdigest()
        if not folder.exists():
            try:
                self._space.make_room(size)
            except LimitExceededError:
                return None
        return folder

    def used(self) -> int:
        """Bytes of disk that the account's uploads and caches take."""
        return self._space.used()

    # Inner parts

    def _new_folder(self) -> Assembled:
        while True:
            directory = self._models / secrets.token_hex(16)
            directory.mkdir(mode=0o770)
            try:
                lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            if directory.exists():
                return Assembled(directory, 0, lock)
            # Another took it for one that was left behind, before it was locked.
            os.close(lock)

    @contextmanager
    def _open_partial(self, digest: str) -> Iterator[int]:
        """The partial file, locked against other uploads of the same blob."""
        path = self._partial / digest
        deadline = time.monotonic() + self._limits.receive_timeout
        while True:
            with _disk_errors():
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
            if _locked(file, path):
                break
            os.close(file)
            if time.monotonic() > deadline:
                raise ConflictError(
                    "Another upload of this file is under way.",
                    next_step="Ask for the offset and send from there.",
                )
            time.sleep(_LOCK_RETRY)
        try:
            yield file
        finally:
            os.close(file)

    def _write(
        self, digest: str, file: int, start: int, total: int, chunks: Iterable[Buffer]
    ) -> int:
        at, hasher = start, self._hasher(digest, start)
        os.lseek(file, start, os.SEEK_SET)
        try:
            with _following(file, start, hasher) as written:
                for chunk in chunks:
                    if len(chunk) > total - at:
                        raise PayloadTooLargeError(f"More than the announced {total} bytes came.")
                    rest = chunk
                    while rest:
                        count = os.write(file, rest)
                        at += count
                        rest = rest[count:]
                        written(at)
        finally:
            if hasher is not None:
                with self._lock:
                    while len(self._hashers) >= _MAX_HASHERS:
                        self._hashers.pop(next(iter(self._hashers)))
                    self._hashers[digest] = (at, hasher)
        return at

    def _hasher(self, digest: str, start: int) -> Any:
        """The hash of the first `start` bytes, if this process saw them all."""
        if start == 0:
            return hashlib.sha256()
        with self._lock:
            at, hasher = self._hashers.pop(digest, (-1, None))
        return hasher if at == start else None

    def _complete(self, digest: str, file: int, total: int) -> None:
        with self._lock:
            at, hasher = self._hashers.pop(digest, (-1, None))
        if hasher is None or at != total:
            hasher = hashlib.sha256()
            _hash(file, 0, total, hasher)
        path = self._partial / digest
        if hasher.hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise InvalidRequestError(
                "The uploaded file does not have the announced hash.",
                next_step="Upload it again from the start.",
            )
        path.rename(self._blobs / digest)

    def _verify(self, digest: str) -> None:
        """Move a blob of before the machine started to its place, or away if it is damaged."""
        path = self._unverified / digest
        with suppress(FileNotFoundError), path.open("rb") as file:
            hasher = hashlib.sha256()
            _hash(file.fileno(), 0, path.stat().st_size, hasher)
            if hasher.hexdigest() == digest:
                path.rename(self._blobs / digest)
            else:
                path.unlink()

    def _doubt_older_blobs(self, marker: Path) -> None:
        boot = boot_id().encode()
        with marker.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if file.read() == boot:
                return
            for path in self._blobs.iterdir():
                path.rename(self._unverified / path.name)
            file.truncate(0)
            file.write(boot)

    def _link(self, digest: str, target: Path) -> int:
        self.status(digest)
        blob = self._blobs / digest
        try:
            target.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            os.link(blob, target)
        except FileNotFoundError:
            raise NotFoundError(
                f"The file {digest} is not stored here.", next_step="Upload it first."
            ) from None
        except (FileExistsError, NotADirectoryError):
            raise InvalidRequestError(
                f"The file name {target.name[:100]!r} is taken by another file or folder."
            ) from None
        os.utime(blob)
        return target.stat().st_size

    def _clean(self) -> None:
        """Remove what processes left behind that ended in the midst of their work."""
        for path in self._models.iterdir():
            remove_unlocked(path, path)
        for path in self._caches.glob(".*"):
            remove_unlocked(path, path / LOCK)


def _locked(file: int, path: Path) -> bool:
    """Whether `file` is locked now and still what lies at `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UnavailableError(
            "The accelerator's disk is full.",
            next_step="Free space on the node, then repeat; what was uploaded is kept.",
        ) from error


@contextmanager
def _following(file: int, start: int, hasher: Any) -> Iterator[Callable[[int], None]]:
    """Hash a file from `start` on while it is written, in a thread of its own.

    Yields what is to be told how far the file is written. At the end all of that is hashed.
    """
    if hasher is None:
        yield lambda _: None
        return
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    stop = -1

    def follow() -> None:
        at = start
        while (end := ends.get()) != stop:
            _hash(file, at, end, hasher)
            at = end

    thread = threading.Thread(target=follow, name="hash")
    thread.start()
    try:
        yield ends.put
    finally:
        ends.put(stop)
        thread.join()


def _hash(file: int, start: int, end: int, hasher: Any) -> None:
    """Add the bytes of `file` from `start` to `end` to what was hashed."""
    buffer = memoryview(bytearray(min(_HASH_STEP, end - start)))
    while start < end:
        count = os.preadv(file, [buffer[: end - start]], start)
        if not count:
            return
        hasher.update(buffer[:count])
        start += count


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidRequestError(f"{digest[:80]!r} is not a SHA-256 in lower-case hex.")


def _check_name(name: str) -> None:
    parts = PurePosixPath(name).parts
    plain = (
        0 < len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME
        and "\0" not in name
        and not name.startswith("/")
        and "/".join(parts) == name
        and not {".", ".."} & set(parts)
        and len(parts) <= 16
    )
    try:
        name.encode()
    except UnicodeEncodeError:
        plain = False
    if not plain:
        raise InvalidRequestError(
            f"The file name {name[:100]!r} is not allowed.",
            next_step="Names are relative paths without '.' and '..'.",
        )
