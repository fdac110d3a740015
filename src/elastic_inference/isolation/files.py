"""Files in directories that belong to a user who is not trusted.

Whoever owns a directory can put links, pipes and devices where files are expected. Root follows
no link there, waits for no pipe, and replaces files instead of writing into them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
from pathlib import Path

_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def own(directory: Path, uid: int, mode: int) -> None:
    """Make `directory`, whose parent is trusted, one of `uid`, and of a group of that number."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _PLAIN)
    try:
        os.fchown(descriptor, uid, uid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes, uid: int | None = None) -> None:
    """Put a file at `path` that `uid` alone can read and write; None: this user.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if uid is not None:
                os.fchown(file.fileno(), uid, uid)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_log(path: Path, most: int) -> int:
    """A descriptor that appends to the file at `path`; one of over `most` bytes begins anew.

    Raises:
        OSError: there is something else.
    """
    for _ in range(2):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _PLAIN, 0o600)
        seen = os.fstat(descriptor)
        # A second name may be that of somebody's file, to which this one shall not be added.
        if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and seen.st_size <= most:
            return descriptor
        os.close(descriptor)
        path.unlink(missing_ok=True)
    raise OSError(f"{path} is not a file that can be added to")


def read_plain(path: Path, most: int, offset: int = 0) -> bytes:
    """Up to `most` bytes of the regular file at `path`.

    Raises:
        OSError: there is none, or something else.
    """
    descriptor = os.open(path, os.O_RDONLY | _PLAIN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a file")
        return os.pread(descriptor, most, offset)
    finally:
        os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all in it, as far as that can be done."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:
        # Somebody nested directories more deeply than Python can follow.
        subprocess.run(["rm", "-rf", "--", str(directory)], check=False, capture_output=True)
