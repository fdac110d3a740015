"""The command line that root runs to start a program as another user."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import elastic_inference

_ENTER = Path(__file__).with_name("enter.py")
_PACKAGE = Path(elastic_inference.__file__).parent
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGEST_ID = 2**32 - 2
_MOST_GROUPS = 32
_MOST_PATHS = 256
_MOST_PATH = 4095


def command(
    argv: Sequence[str],
    *,
    uid: int,
    gid: int | None = None,
    groups: Sequence[int] = (),
    expose: Iterable[str | Path] = (),
    network: str | None = None,
    cwd: str | Path | None = None,
    umask: int = 0o077,
    processes: int = 4096,
    death_signal: int = 0,
) -> list[str]:
    """What root has to run so that it becomes `argv` with the rights of `uid` alone.

    The program has its own view of the files: each path of `expose`, and what Python needs, can
    be reached even below directories that it may not enter; such a directory seems to hold
    nothing else. The paths' own modes go on to hold. It never gains rights again. Environment
    and open descriptors are what `Popen` gives it; it is the same process, which has no other
    beside it.

    Args:
        argv: the program, looked for in its PATH, and its arguments.
        gid: its group; None: of the same number as `uid`.
        groups: its other groups.
        expose: existing paths, absolute.
        network: a network namespace's name in /run/netns; None: the caller's.
        cwd: the directory in which it begins; None: the root directory.
        processes: how many processes and threads `uid` may have at one time; 0: no limit.
        death_signal: sent to it when the thread that starts it ends; 0: none.

    Raises:
        ValueError: something of it cannot be.
    """
    gid = uid if gid is None else gid
    for number in (uid, gid, *groups):
        if not 0 < number <= _LARGEST_ID:
            raise ValueError(f"{number} is not the number of a user or group besides root's")
    exposed = [*_needed(), *(_path(each) for each in expose)]
    if len(groups) > _MOST_GROUPS or len(exposed) > _MOST_PATHS:
        raise ValueError("that is too many groups or paths")
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise ValueError("the program's words must not be empty or have NUL in them")
    if network is not None and not _NETWORK.fullmatch(network):
        raise ValueError(f"{network[:80]!r} is not the name of a network namespace")
    if not 0 <= umask <= 0o777 or not 0 <= death_signal <= 64 or not 0 <= processes < 2**31:
        raise ValueError("umask, processes or death_signal is out of range")
    words = [f"uid={uid}", f"gid={gid}", f"umask={umask}", f"processes={processes}"]
    words += [f"groups={number}" for number in groups]
    words += [f"expose={path}" for path in dict.fromkeys(exposed)]
    words += [] if network is None else [f"network={network}"]
    words += [] if cwd is None else [f"cwd={_path(cwd)}"]
    if death_signal:
        words += [f"death_signal={death_signal}", f"parent={os.getpid()}"]
    return [*_interpreter(), *words, "--", *argv]


def trial(uid: int, paths: Iterable[str | Path]) -> list[str]:
    """A command that says whether Python can be started as `uid`, and `paths` read by it."""
    words = [f"uid={uid}", f"gid={uid}"]
    words += [f"expose={path}" for path in _needed()]
    words += [f"check={_path(path)}" for path in (*_needed(), *paths)]
    return [*_interpreter(), *words, "--", sys.executable, "-I", "-S", "-c", "pass"]


def _interpreter() -> list[str]:
    # Alone: without the site's packages, and without what the environment says of Python.
    return [sys.executable, "-I", "-S", str(_ENTER)]


def _needed() -> list[str]:
    """Where Python lies, the packages that it finds by itself, and this package."""
    paths = [sys.executable, sys.base_prefix, sys.prefix, str(_PACKAGE)]
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
    return [path for path in dict.fromkeys(paths) if path and Path(path).exists()]


def _path(path: str | Path) -> str:
    text = str(path)
    if not text.startswith("/") or "\0" in text or len(text) > _MOST_PATH:
        raise ValueError(f"{text[:80]!r} is not an absolute path")
    return text
