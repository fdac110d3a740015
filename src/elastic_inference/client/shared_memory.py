"""Tensors in shared memory: sealed memfds that the accelerator maps too.

Each connection has an arena of its own, into which inputs are copied and from which outputs
are. What `allocate` returns lives in shared memory already and is passed without a copy.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from elastic_inference.client.connection import Connection, decoded, plan_for
from elastic_inference.client.http import not_http
from elastic_inference.client.plan import OutputSlot, Plan, Planner, infer_request
from elastic_inference.errors import (
    ConflictError,
    LimitExceededError,
)
from elastic_inference.protocol.tensors import Array, Value

# Below this the socket is faster.
SHARED = 48 * 1024
_ALIGNMENT = 64
_PAGE = mmap.PAGESIZE
_MAX_REQUESTS = 64


class Region(mmap.mmap):
    """A sealed memfd, mapped.

    Attributes:
        name: by which requests mean it; no two regions have one name.
        fd: the memfd, open as long as the mapping.
        address: of its first byte.
    """

    name: str
    fd: int
    address: int

    def __new__(cls, size: int) -> Self:
        """A region of at least `size` bytes.

        Raises:
            OSError: there is no memory, or too many files are open.
        """
        fd = os.memfd_create("elastic-inference", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            size = -(-max(size, 1) // _PAGE) * _PAGE
            os.ftruncate(fd, size)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            region = super().__new__(cls, fd, size)
        except BaseException:
            os.close(fd)
            raise
        weakref.finalize(region, os.close, fd).atexit = False
        region.fd = fd
        region.name = uuid.uuid4().hex
        region.address = np.frombuffer(region, np.uint8).ctypes.data
        return region


def allocate(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised array, in shared memory of its own if there is any."""
    dtype = np.dtype(dtype)
    try:
        region = Region(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    except OSError:
        return np.empty(shape, dtype)
    return np.ndarray(tuple(shape), dtype, region)


def region_of(array: Any) -> Region | None:
    """The region that a contiguous array lies in, or None."""
    base = array.base
    if base is None:
        return None
    while type(base) is np.ndarray:
        base = base.base
    if type(base) is Region and array.flags.c_contiguous:
        return base
    return None


class Registry(Protocol):
    """The regions that the accelerator knows from this process."""

    def registered(self, region: Region, connection: SharedConnection) -> bool:
        """Make sure that the accelerator knows `region`; False if it takes no more."""


class SharedConnection(Connection):
    """A connection over a Unix socket whose large tensors stay in memory."""

    transport = "shm"

    def __init__(
        self, sock: socket.socket, *, max_answer: int, registry: Registry, generation: int = 0
    ) -> None:
        super().__init__(sock, max_answer=max_answer, generation=generation)
        self._registry = registry
        self._arena: Region | None = None
        self._window = (0, 0)

    def infer(
        self, planner: Planner, feeds: Mapping[str, Value], outputs: tuple[str, ...] | None
    ) -> list[Value]:
        try:
            plan = plan_for(planner, feeds, outputs)
        except Exception:
            self.usable = True  # Nothing was sent.
            raise
        large = plan.input_bytes >= SHARED or plan.output_bytes >= SHARED
        if not large or plan.buffers is not None or plan.convert:
            return self.infer_plan(plan, feeds)
        return self._infer_shared(planner, plan, feeds)

    def _infer_shared(self, planner: Planner, plan: Plan, feeds: Mapping[str, Any]) -> list[Value]:
        places: list[tuple[str, int] | None] = []
        staged: list[tuple[Any, int]] = []
        end = 0
        for x in feeds.values():
            region = region_of(x)
            if region is not None and self._registry.registered(region, self):
                at = x.__array_interface__["data"][0] - region.address
                places.append((region.name, at))
            elif x.nbytes == 0:
                places.append(None)
            else:
                places.append(("", end))
                staged.append((x, end))
                end += -(-x.nbytes // _ALIGNMENT) * _ALIGNMENT
        room = 0
        if plan.output_bytes >= SHARED:
            room = plan.output_bytes + _ALIGNMENT * len(plan.wanted)
        arena = self._arena_of(end + room) if end + room else None
        if arena is None and (staged or room):
            return self.infer_plan(plan, feeds)
        for x, at in staged:
            np.copyto(np.ndarray(x.shape, x.dtype, arena, at), x)
        self._window = (end, room)
        key = (arena and arena.name, tuple(places), room)
        request = plan.shared.get(key)
        if request is None:
            request = _request(planner, plan, feeds, places, arena, (end, room))
            if len(plan.shared) >= _MAX_REQUESTS:
                plan.shared.clear()
            plan.shared[key] = request
        return self.exchange(plan, request, [])

    def _arena_of(self, size: int) -> Region | None:
        """The arena, grown to `size`; None where the accelerator takes no more regions."""
        arena = self._arena
        if arena is None or len(arena) < size:
            if arena is not None:
                self._arena = None
                size = max(size, 2 * len(arena))
            try:
                arena = Region(size)
            except OSError:
                return None
        if not self._registry.registered(arena, self):
            return None
        self._arena = arena
        return arena

    def _region_value(self, slot: OutputSlot) -> Value:
        start, room = self._window
        arena = self._arena
        if (
            arena is None
            or slot.region != arena.name
            or slot.offset < start
            or slot.offset + slot.nbytes > start + room
        ):
            raise not_http("it names shared memory that was not offered")
        if slot.dtype is None:
            return decoded(slot, arena[slot.offset : slot.offset + slot.nbytes])
        return np.ndarray(slot.shape, slot.dtype, arena, slot.offset).copy()

    def register(self, region: Region) -> bool:
        """Pass `region` to the accelerator; False if it takes no more.

        Raises:
            OSError, AcceleratorLostError: the connection broke.
            ElasticInferenceError: the accelerator refused.
        """
        try:
            if self.offer(f"/v2/elastic-inference/memory/{region.name}", 1) is None:
                socket.send_fds(self._socket, [b"\0"], [region.fd])
                self.read_answer()
        except ConflictError:
            self.usable = False
        except LimitExceededError:
            self.usable = False
            return False
        return True

    def close(self) -> None:
        super().close()
        self._arena = None


def _request(
    planner: Planner,
    plan: Plan,
    feeds: Mapping[str, Any],
    places: Sequence[tuple[str, int] | None],
    arena: Region | None,
    window: tuple[int, int],
) -> bytes:
    entries = []
    for (name, x), place in zip(feeds.items(), places, strict=True):
        parameters: dict[str, Any] = {"binary_data_size": 0}
        if place is not None:
            region, offset = place
            if not region and arena is not None:
                region = arena.name
            parameters = {
                "shared_memory_region": region,
                "shared_memory_offset": offset,
                "shared_memory_byte_size": x.nbytes,
            }
        entries.append(
            {
                "name": name,
                "datatype": planner.datatype(name, x),
                "shape": list(x.shape),
                "parameters": parameters,
            }
        )
    parameters = {}
    if window[1] and arena is not None:
        parameters = {
            "elastic_inference_output_region": arena.name,
            "elastic_inference_output_offset": window[0],
            "elastic_inference_output_byte_size": window[1],
        }
    return infer_request(planner.handle, entries, plan.asked, 0, parameters)
