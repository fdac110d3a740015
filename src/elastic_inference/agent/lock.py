"""The lock that lets one agent at a time be this host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from pathlib import Path

from elastic_inference.errors import ConflictError, UnavailableError

_NAME = "lock"


def take(directory: Path) -> int:
    """A descriptor that holds the lock until it and its copies in other processes are closed.

    Raises:
        ConflictError: an agent has it.
    """
    descriptor = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise ConflictError(
            f"An agent runs for {directory.parent} already (process {holder or 'unknown'}).",
            next_step="Stop that first (kill, or systemctl stop), or use another EI_HOME.",
        ) from None
    return descriptor


def sign(descriptor: int) -> None:
    """Note in the lock whose it is: this process's."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def end_agent(directory: Path, timeout: float) -> None:
    """Have the agent that holds the lock end, if there is one.

    Raises:
        UnavailableError: it does not end.
    """
    try:
        os.close(take(directory))
    except ConflictError:
        pass
    else:
        return
    descriptor = os.open(directory / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        holder = _holder(descriptor)
        if not holder or not _ends(holder, descriptor, timeout):
            raise UnavailableError(
                f"The agent of this host does not end (process {holder or 'unknown'}).",
                next_step="Kill it, and try again.",
            )
    finally:
        os.close(descriptor)


def _ends(pid: int, lock: int, timeout: float) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # A number may be another process's by now, or in here another's than where it was noted.
        if not _has_open(pid, lock):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGTERM)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(process)


def _has_open(pid: int, descriptor: int) -> bool:
    wanted = os.fstat(descriptor)
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.path.samestat(each.stat(), wanted):
                return True
    return False


def _holder(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else 0
