"""Directories that several users share, and nobody else reads."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from elastic_inference.isolation import users

_DIRECTORY = stat.S_ISGID | 0o770
_FILE = 0o660


def share(directory: Path) -> int:
    """Have `directory` be used by all members of a group of its own; the group.

    What is in it already is theirs too, and so is, by the directory's mode, what they make in
    it with a umask of 007. The directory's parent is trusted.

    Raises:
        OSError: it cannot be changed.
    """
    parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Pools may come at one time to an account's directory that is new.
        fcntl.flock(parent, fcntl.LOCK_EX)
        seen = directory.lstat()
        if users.owns(seen.st_gid) and stat.S_IMODE(seen.st_mode) == _DIRECTORY:
            return seen.st_gid
        gid = users.new_uid()
        _give(directory, gid)
        return gid
    finally:
        os.close(parent)


def _give(directory: Path, gid: int) -> None:
    for _, folders, files, at in os.fwalk(directory, topdown=False):
        for name in files:
            _change(name, at, gid, _FILE)
        for name in folders:
            _change(name, at, gid, _DIRECTORY)
    # The last of all, since it says that all is done.
    _change(str(directory), None, gid, _DIRECTORY)


def _change(name: str, at: int | None, gid: int, mode: int) -> None:
    try:
        seen = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISLNK(seen.st_mode):
            return
        os.chown(name, -1, gid, dir_fd=at, follow_symlinks=False)
        os.chmod(name, mode, dir_fd=at)
    except FileNotFoundError:
        # Another process of the account took it away meanwhile.
        return
