"""The lock of an accelerator's directory, as those see it who did not start the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from pathlib import Path

_MAX_PID = 20


def end_owner(path: Path, timeout: float) -> bool:
    """End the process that holds an accelerator's lock at `path`, whatever state it is in.

    The kernel says whether the lock is held, and the file by whom; a pidfd makes sure that the
    signal reaches that process and none that has its number now.

    Args:
        timeout: seconds to wait for its end.

    Returns:
        Whether nobody holds the lock any more.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        pid = _owner(descriptor)
        if not pid:
            return not _is_held(descriptor)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return not _is_held(descriptor)
        try:
            # It has the file open after the pidfd was taken: the number is that process's.
            if _has_open(pid, descriptor):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll(timeout * 1000)
        finally:
            os.close(pidfd)
        return not _is_held(descriptor)
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> int:
    """The process that holds the lock; 0 if none does, or it has not said yet who it is."""
    if not _is_held(descriptor):
        return 0
    text = os.pread(descriptor, _MAX_PID, 0)
    return int(text) if text.isdigit() else 0


def _has_open(pid: int, descriptor: int) -> bool:
    wanted = os.fstat(descriptor)
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    return True
    return False


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
