"""User ids that belong to nobody, given to what this machine runs for others."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from elastic_inference.isolation import launcher

_log = logging.getLogger(__name__)

# Far above what systems give to people, services and containers' ranges of 65,536 from 100,000.
FIRST = 0x24000000
COUNT = 1 << 28
_PROBE_TIMEOUT = 30.0
_END_TIMEOUT = 10.0
# Its real user is one that nobody has, so that no process of the one to be ended may end it
# first; the kernel lets it signal those of its effective user, all of them at once.
_END = """
import os, sys
uid, nobody = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([])
os.setresgid(nobody, nobody, nobody)
os.setresuid(nobody, uid, nobody)
try:
    os.kill(-1, 9)
except ProcessLookupError:
    pass
"""


@dataclass(frozen=True, slots=True)
class Separation:
    """Whether programs can be given users of their own here.

    Attributes:
        why_not: "" if they can.
    """

    possible: bool
    why_not: str


def separation() -> Separation:
    """Whether this process can start others as `launcher.command` says. Tried once."""
    return _separation(os.geteuid())


@lru_cache(maxsize=2)
def _separation(euid: int) -> Separation:
    why = _obstacle(euid)
    return Separation(not why, why)


def _obstacle(euid: int) -> str:
    if euid != 0:
        return "only root can do that"
    try:
        maps = [Path("/proc/self", name).read_text("ascii") for name in ("uid_map", "gid_map")]
    except OSError as error:
        return str(error)
    if not all(_covers(each) for each in maps):
        return "this user namespace has too few users"
    # Where these lie, models are run; who installed them may have kept them to himself.
    packages = [importlib.util.find_spec(name) for name in ("numpy", "onnxruntime")]
    paths = [each.origin for each in packages if each is not None and each.origin is not None]
    try:
        done = subprocess.run(
            launcher.trial(new_uid(), paths),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"the trial ended with status {done.returncode}"


def _covers(table: str) -> bool:
    """Whether a map of a user namespace has all of the range."""
    for line in table.splitlines():
        inside, _, count = (int(field) for field in line.split())
        if inside <= FIRST and inside + count >= FIRST + COUNT:
            return True
    return False


def owns(uid: int) -> bool:
    """Whether a user or group id is one that `new_uid` may have given away."""
    return FIRST <= uid < FIRST + COUNT


def new_uid() -> int:
    """A user id, and group id, of which no process is."""
    taken = _owners()
    while True:
        uid = FIRST + secrets.randbelow(COUNT)
        if uid not in taken:
            return uid


def end_all(uid: int) -> None:
    """End every process of a user id of `new_uid` at once; returns when all are gone.

    What the kernel keeps for longer, because a device does not let go of it, is logged.
    """
    if not owns(uid) or uid == os.geteuid():
        raise ValueError(f"{uid} is not a user of an accelerator or instance")
    deadline = time.monotonic() + _END_TIMEOUT
    while why := _kill(uid):
        if time.monotonic() > deadline:
            _log.warning("The processes of user %d cannot be ended: %s", uid, why)
            return
        # It may be their number that leaves no room for one more process.
        for pid in _processes_of(uid):
            _ends(pid, uid, 0.0)
    for pid in _processes_of(uid):
        if not _ends(pid, uid, deadline):
            _log.warning("Process %d of user %d was killed and does not end", pid, uid)


def _kill(uid: int) -> str:
    """Signal all processes of a user at once; why that cannot be done, or ""."""
    words = [sys.executable, "-I", "-S", "-c", _END, str(uid), str(new_uid())]
    try:
        subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_END_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return ""


def is_of(pid: int, uid: int) -> bool:
    """Whether a process runs, and as `uid` in every respect."""
    return _status(pid) == (uid,) * 4


def _ends(pid: int, uid: int, deadline: float) -> bool:
    """Kill a process, if it is that user's, and see whether it ends in time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # The number may be another's by now, before the descriptor was taken.
        if uid not in _status(pid):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)


def _owners() -> set[int]:
    """The user ids of all processes."""
    owners = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            owners.add(os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116 - there may be thousands
    return owners


def _processes_of(uid: int) -> list[int]:
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            # Root owns the entries of those whose memory may not be read.
            owner = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - there may be thousands
            if owner in (uid, 0) and uid in _status(pid):
                found.append(pid)
    return found


def _status(pid: int) -> tuple[int, ...]:
    """Real, effective, saved and file system user id of a process; () if it has ended."""
    with contextlib.suppress(OSError):
        state = ""
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key == "State":
                state = value.strip()
            elif key == "Uid":
                return () if state[:1] in "ZX" else tuple(int(each) for each in value.split())
    return ()


def _pids() -> Iterator[int]:
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)
