"""What the kernel tells about processes: whose they are, what they hold, and their sockets."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The same number on every architecture that has it.
_SYS_PIDFD_GETFD = 438
_AF_UNSPEC = bytes(16)


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds.

    Attributes:
        anonymous: bytes of memory that no file backs.
    """

    descriptors: int
    threads: int
    regions: int
    anonymous: int


def held_by(pid: int) -> Held:
    """What a process holds now.

    Raises:
        OSError: it is gone.
    """
    proc = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
    )
    return Held(
        descriptors=sum(1 for _ in (proc / "fd").iterdir()),
        threads=int(status["Threads"]),
        regions=(proc / "maps").read_text().count("memfd:"),
        anonymous=int(status.get("RssAnon", "0 kB").split()[0]) * 1024,
    )


def of_folder(folder: Path) -> dict[int, str]:
    """The running processes whose command line or environment names `folder`: command by pid."""
    mark = os.fsencode(folder)
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            # One that has ended and is not reaped yet has no command line.
            if words and (mark in words or mark in (entry / "environ").read_bytes()):
                found[int(entry.name)] = words.replace(b"\0", b" ").decode("utf-8", "replace")
    return found


def parent_of(pid: int) -> int:
    """The process that started another; 0 if that is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def ended(pid: int, timeout: float) -> bool:
    """Whether a process, which need not be a child, ends within `timeout` seconds."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def sockets_of(pid: int) -> Iterator[list[socket.socket]]:
    """The connected stream sockets of another process, as descriptors of this one.

    What is done to them is done to the connection; closing them here does nothing to it.

    Raises:
        OSError: it is gone, or the kernel does not allow this.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    taken: list[socket.socket] = []
    try:
        for entry in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not str(entry.readlink()).startswith("socket:"):
                    continue
                copy = libc.syscall(_SYS_PIDFD_GETFD, pidfd, int(entry.name), 0)
                if copy < 0 and ctypes.get_errno() in {errno.EBADF, errno.ESRCH}:
                    continue
                if copy < 0:
                    raise OSError(ctypes.get_errno(), "pidfd_getfd")
                sock = socket.socket(fileno=copy)
                if sock.type == socket.SOCK_STREAM and _is_connected(sock):
                    taken.append(sock)
                else:
                    sock.close()
        yield taken
    finally:
        for sock in taken:
            sock.close()
        os.close(pidfd)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def reset(sock: socket.socket) -> bool:
    """End a TCP connection with a RST, whoever else has a descriptor of it; False if it is none."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # connect(2) to AF_UNSPEC dissolves the association, which TCP tells the peer by a RST.
    return bool(libc.connect(sock.fileno(), _AF_UNSPEC, len(_AF_UNSPEC)) == 0)
