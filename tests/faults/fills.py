"""Things that run out: disk, descriptors, memory, connections, the store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from elastic_inference.errors import ElasticInferenceError, InternalError
from tests.faults import intruder, proc
from tests.faults.crew import SETTINGS
from tests.faults.fault import VICTIM, WIRES, Fault, Scene, UnfitError
from tests.faults.intruder import Way

_SECONDS = 2.0
_ENOUGH_ROOM = 1 << 30


@contextlib.contextmanager
def limited(pid: int, what: int, value: int) -> Iterator[None]:
    """A lower limit on a resource of another process."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def disk(scene: Scene) -> None:
    """The file system with the accounts' stores, where it is a small one."""
    accounts = scene.crew.home / "accounts"
    usage = os.statvfs(accounts)
    if usage.f_bavail * usage.f_frsize > _ENOUGH_ROOM:
        raise UnfitError("a small file system needs root and mount")
    ballast = accounts / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    time.sleep(_SECONDS)
    ballast.unlink()


def files_of_the_accelerator(scene: Scene) -> None:
    with limited(scene.crew.accelerator_pid("a"), resource.RLIMIT_FSIZE, 1 << 16):
        time.sleep(_SECONDS)


def files_of_the_control_plane(scene: Scene) -> None:
    """Its state cannot grow: a new instance is refused, and leaves nothing."""
    crew = scene.crew
    pid = crew.pool.pid
    with limited(pid, resource.RLIMIT_FSIZE, 0):
        try:
            crew.call("RunInstance", {"acceleratorTypes": ["eia1.medium"], "leaseSeconds": 1})
        except InternalError:
            raise
        except ElasticInferenceError:
            pass
        else:
            raise AssertionError("an instance was made that could not be written down")
        crew.call("DescribeAccelerators")


def descriptors_of_the_accelerator(scene: Scene) -> None:
    pid = scene.crew.accelerator_pid("a")
    now = proc.held_by(pid).descriptors
    way = Way(scene.crew, "a")
    with limited(pid, resource.RLIMIT_NOFILE, now + 2), intruder.crowd(way, 12, way.hello()):
        time.sleep(_SECONDS)


def descriptors_of_the_control_plane(scene: Scene) -> None:
    pid = scene.crew.pool.pid
    now = proc.held_by(pid).descriptors
    way = Way(scene.crew, "a")
    with limited(pid, resource.RLIMIT_NOFILE, now + 1), intruder.crowd(way, 12):
        time.sleep(_SECONDS)


def memory_of_the_accelerator(scene: Scene) -> None:
    """The kernel refuses it more memory; what it has goes on, or it is started again."""
    pid = scene.crew.accelerator_pid("a")
    status = Path("/proc", str(pid), "status").read_text()
    now = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    with limited(pid, resource.RLIMIT_DATA, now * 1024 + (1 << 20)):
        time.sleep(_SECONDS)


def connections(scene: Scene) -> None:
    way = Way(scene.crew, "a")
    most = int(SETTINGS["EI_MAX_CONNECTIONS"])
    refused = 0
    with contextlib.ExitStack() as crowd:
        for _ in range(most + 4):
            tls = way.secured()
            crowd.enter_context(contextlib.closing(tls))
            tls.sendall(way.request("/v2/repository/index", b"{}"))
            refused += intruder.status_of(tls)[0] == 429
        if not refused:
            raise AssertionError("there is no limit to connections")
        time.sleep(_SECONDS / 2)


def hellos(scene: Scene) -> None:
    """More connections that say nothing than the endpoint waits for."""
    way = Way(scene.crew, "a")
    count = int(SETTINGS["EI_MAX_PENDING"]) * 3
    with intruder.crowd(way, count), contextlib.closing(way.secured()) as tls:
        tls.sendall(way.request("/v2/repository/index", b"{}"))
        if intruder.status_of(tls)[0] != 200:
            raise AssertionError("a crowd that says nothing keeps others out")


def store(scene: Scene) -> None:
    """An upload that is larger than what an account may store."""
    way = Way(scene.crew, "a")
    digest = hashlib.sha256(scene.random.randbytes(32)).hexdigest()
    with contextlib.closing(way.secured()) as tls:
        head = way.upload(digest, 64 << 20).replace(
            b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"
        )
        tls.sendall(head)
        status, document = intruder.status_of(tls)
        if (status, document.get("kind")) != (429, "limit-exceeded"):
            raise AssertionError(f"answered {status} {document}")


FAULTS = [
    Fault("fill", "disk of the stores", disk, ("a-churn",)),
    Fault("fill", "files of the accelerator", files_of_the_accelerator, ("a-churn",)),
    Fault("fill", "files of the control plane", files_of_the_control_plane),
    Fault("fill", "descriptors of the accelerator", descriptors_of_the_accelerator, ("a-churn",)),
    Fault("fill", "descriptors of the control plane", descriptors_of_the_control_plane, WIRES),
    Fault("fill", "memory of the accelerator", memory_of_the_accelerator, VICTIM),
    Fault("fill", "connections of the accelerator", connections, quick=True),
    Fault("fill", "silent connections to the endpoint", hellos),
    Fault("fill", "store of the account", store, quick=True),
]
