"""Shared memory that requests may name.

Two kinds: POSIX segments of the standard extension, which any caller with this process's uid
may register by key; and sealed memfds passed over the Unix socket, which belong to the client
that passed them. A mapped segment that is cut while it is read kills the reader with
SIGBUS. A memfd is therefore accepted only when sealed, and then used in place; a POSIX
segment, which cannot be sealed, is never mapped but read and written by system calls.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from elastic_inference.protocol.inference import unknown_region
from elastic_inference.protocol.tensors import Buffer

_KEY = re.compile(r"/?[A-Za-z0-9._-]{1,200}")
_NEEDED_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_HOST_MEMORY = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE


class _Segment:
    """A POSIX segment by descriptor: each use checks that it has not been cut since.

    The descriptor is closed with the last reference, so that no use finds its number taken by
    another file.
    """

    def __init__(self, key: str, offset: int, size: int) -> None:
        self.key, self.offset, self.size = key, offset, size
        self._fd = -1
        path = "/dev/shm/" + key.lstrip("/")  # noqa: S108 - where the kernel keeps POSIX segments
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidRequestError(
                f"Cannot open shared memory {key!r}: {error.strerror}.",
                next_step="System shared memory needs the same host and user; root's pool gives"
                " accelerators others, unless EI_SEPARATE_USERS=off.",
            ) from None
        status = os.fstat(self._fd)
        if status.st_uid != os.geteuid():
            raise InvalidRequestError(f"Shared memory {key!r} belongs to another user.")
        if offset + size > status.st_size or size < 1:
            raise InvalidRequestError(
                f"Shared memory {key!r} has {status.st_size} bytes; {size} at {offset} do not fit."
            )

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, offset: int, size: int) -> Buffer:
        self._check(offset, size)
        target = memoryview(np.empty(size, np.uint8))
        done = 0
        while done < size:
            count = os.preadv(self._fd, [target[done:]], self.offset + offset + done)
            if count == 0:
                raise InvalidRequestError(
                    f"Shared memory {self.key!r} was truncated.",
                    next_step="Unregister it and register it again.",
                )
            done += count
        return target

    def write(self, offset: int, parts: Sequence[Buffer]) -> None:
        self._check(offset, sum(len(part) for part in parts))
        at = self.offset + offset
        for part in parts:
            done = 0
            while done < len(part):
                done += os.pwrite(self._fd, part[done:], at + done)
            at += len(part)

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.size:
            raise too_small(self.key, self.size, offset, size)


class SystemRegions:
    """The registrations of the standard extension."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._segments: dict[str, _Segment] = {}

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Register a segment.

        Raises:
            ConflictError: the name is taken.
            InvalidRequestError: no such segment, another user's, or too small.
            LimitExceededError: too many are registered.
        """
        if not _KEY.fullmatch(key) or ".." in key:
            raise InvalidRequestError(f"{key[:100]!r} is not the key of a shared memory segment.")
        with self._lock:
            if name in self._segments:
                raise ConflictError(
                    f"Shared memory region {name[:100]!r} is registered already.",
                    next_step="Unregister it first.",
                )
            if len(self._segments) >= self._limit:
                raise LimitExceededError(f"{self._limit} shared memory regions are registered.")
            self._segments[name] = _Segment(key, offset, size)

    def unregister(self, name: str | None = None) -> None:
        """Forget one region, or all. An unknown name is no error, as in Triton."""
        with self._lock:
            names = list(self._segments) if name is None else [name]
            for each in names:
                self._segments.pop(each, None)

    def get(self, name: str) -> _Segment:
        segment = self._segments.get(name)
        if segment is None:
            raise unknown_region(name)
        return segment

    def status(self, name: str | None = None) -> list[dict[str, object]]:
        """The entries of the extension's status answer."""
        if name is not None and name not in self._segments:
            raise NotFoundError(f"There is no shared memory region {name[:100]!r}.")
        return [
            {"name": each, "key": item.key, "offset": item.offset, "byte_size": item.size}
            for each, item in list(self._segments.items())
            if name in (None, each)
        ]


def too_small(name: str, has: int, offset: int, size: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"Shared memory {name[:100]!r} has {has} bytes; {size} at {offset} do not fit."
    )


class CheckedRegions:
    """A client's regions on a connection that must first be seen to be of this host and user.

    Args:
        regions: the client's, which may change when it says who it is.
        is_local: looks at the connection; asked once, when memory is first named.
        passed: what the client itself passed it may name, whoever it is.
    """

    def __init__(
        self,
        regions: Callable[[], ClientRegions],
        is_local: Callable[[], bool],
        *,
        passed: bool = False,
    ) -> None:
        self._regions = regions
        self._is_local = is_local
        self._passed = passed

    def read(self, name: str, offset: int, size: int) -> Buffer:
        return self._checked(name).read(name, offset, size)

    def write(self, name: str, offset: int, parts: Sequence[Buffer]) -> None:
        self._checked(name).write(name, offset, parts)

    def _checked(self, name: str) -> ClientRegions:
        regions = self._regions()
        if not (self._passed and name in regions.own) and not self._is_local():
            raise unknown_region(name)
        return regions


@dataclass(slots=True)
class ClientRegions:
    """What a client on this host may name: its own memfds, then the system's segments."""

    system: SystemRegions
    limit: int
    own: dict[str, Buffer] = field(default_factory=dict)

    def read(self, name: str, offset: int, size: int) -> Buffer:
        region = self.own.get(name)
        if region is None:
            return self.system.get(name).read(offset, size)
        if offset + size > len(region):
            raise too_small(name, len(region), offset, size)
        return region[offset : offset + size]

    def write(self, name: str, offset: int, parts: Sequence[Buffer]) -> None:
        region = self.own.get(name)
        if region is None:
            self.system.get(name).write(offset, parts)
            return
        size = sum(len(part) for part in parts)
        if offset + size > len(region):
            raise too_small(name, len(region), offset, size)
        for part in parts:
            region[offset : offset + len(part)] = part
            offset += len(part)

    def add_memfd(self, name: str, descriptor: int) -> int:
        """Map a sealed memfd under `name`; the descriptor is closed. Answers its size in bytes.

        Raises:
            InvalidRequestError: not a memfd, or not sealed against shrinking and growing.
            ConflictError: the name is taken.
            LimitExceededError: the client has too many.
        """
        try:
            try:
                seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            except OSError:
                seals = 0
            if seals & _NEEDED_SEALS != _NEEDED_SEALS:
                raise InvalidRequestError(
                    "The shared memory must be a memfd sealed against shrinking and growing."
                )
            if name in self.own:
                raise ConflictError(f"Shared memory region {name[:100]!r} exists already.")
            if len(self.own) >= self.limit:
                raise LimitExceededError(f"{self.limit} shared memory regions are registered.")
            size = os.fstat(descriptor).st_size
            if not 0 < size <= _HOST_MEMORY:
                raise InvalidRequestError(f"Shared memory of {size} bytes cannot be used.")
            self.own[name] = _map(descriptor, size)
            return size
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Forget a memfd; running requests keep their view of it."""
        if self.own.pop(name, None) is None:
            raise NotFoundError(f"There is no shared memory region {name[:100]!r}.")


def _map(descriptor: int, size: int) -> Buffer:
    if os.fstatvfs(descriptor).f_bsize != mmap.PAGESIZE:
        # A hole punched into huge pages may find no page to fill it: reading it would be fatal.
        raise InvalidRequestError("The shared memory must not be of huge pages.")
    try:
        return memoryview(mmap.mmap(descriptor, size))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(
            f"The shared memory cannot be mapped for reading and writing: {error}."
        ) from None
