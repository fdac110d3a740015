"""The lock that lets one control plane at a time use a state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from elastic_inference.errors import ConflictError


def exclusive(directory: Path) -> int:
    """A descriptor that holds the directory's lock until it is closed or this process ends.

    Raises:
        ConflictError: another process holds it.
        OSError: the directory cannot be written to.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConflictError(
            f"Another control plane uses {directory} (process {holder or 'unknown'}).",
            next_step="Stop it first, or name another directory with --state DIR.",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
