"""Give up root's rights and view of the files, then become another program.

Run by its path, as `python -I -S enter.py KEY=VALUE … -- PROGRAM ARGUMENT…`; see `launcher`. It
imports nothing of this package and little else: it lies in the way of every start.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x1000, 0x4000, 0x80000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_KEYCTL_JOIN_SESSION_KEYRING = 1
# The C library has no function for it.
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_MOST_LINKS = 40
# What a shell says of a command that it cannot run.
_FAILED = 126


class _StartError(Exception):
    """Why the program cannot be started."""


class _Wanted:
    """What the words before `--` ask for."""

    def __init__(self, words: list[str]) -> None:
        self.uid = self.gid = -1
        self.groups: list[int] = []
        self.expose: list[str] = []
        self.check: list[str] = []
        self.network = ""
        self.cwd = "/"
        self.umask = 0o077
        self.processes = 0
        self.death_signal = 0
        self.parent = 0
        for word in words:
            key, _, value = word.partition("=")
            if key in ("expose", "check"):
                getattr(self, key).append(value)
            elif key == "groups":
                self.groups.append(int(value))
            elif key in ("network", "cwd"):
                setattr(self, key, value)
            elif key in ("uid", "gid", "umask", "processes", "death_signal", "parent"):
                setattr(self, key, int(value))
            else:
                raise _StartError(f"{word!r} is not known")
        if self.uid <= 0 or self.gid <= 0:
            raise _StartError("it must be told a user and a group other than root's")


class _Kernel:
    """System calls that Python has no functions for before 3.12."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def unshare(self, flags: int) -> None:
        self._call("a namespace of its own", self._libc.unshare(flags))

    def setns(self, descriptor: int, kind: int) -> None:
        self._call("the network namespace", self._libc.setns(descriptor, kind))

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        done = self._libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
        self._call(f"mounting at {target}", done)

    def prctl(self, option: int, value: int) -> None:
        zero = ctypes.c_ulong(0)
        done = self._libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
        self._call("a promise to the kernel", done)

    def leave_keyring(self) -> None:
        """Have a session keyring of its own: root's may hold keys, and is inherited."""
        number = _SYS_KEYCTL.get(os.uname().machine)
        if number is not None:
            self._libc.syscall(ctypes.c_long(number), _KEYCTL_JOIN_SESSION_KEYRING, None)

    def _call(self, what: str, result: int) -> None:
        if result != 0:
            raise _StartError(f"{what}: {os.strerror(ctypes.get_errno())}")


class _View:
    """The files as the program will see them."""

    def __init__(self, kernel: _Kernel, wanted: _Wanted) -> None:
        self._kernel = kernel
        self._uid = wanted.uid
        self._groups = {wanted.gid, *wanted.groups}

    def expose(self, paths: list[str]) -> None:
        """Let each path be reached, whatever its ancestors' modes; they show nothing else."""
        links: dict[str, str] = {}
        targets: dict[str, int] = {}
        for path in paths:
            real = _follow(path, links)
            if real not in targets:
                targets[real] = os.open(real, os.O_PATH | os.O_CLOEXEC)
        # Parents first: what lies below another exposed path is there already.
        for real in sorted(targets):
            self._cover_ancestors(real)
            self._bind(targets[real], real)
        for link, target in sorted(links.items()):
            if not os.path.lexists(link):
                os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
                os.symlink(target, link)

    def _cover_ancestors(self, path: str) -> None:
        ancestor = ""
        for part in path.split("/")[1:-1]:
            ancestor += "/" + part
            try:
                seen = os.stat(ancestor)
            except FileNotFoundError:
                # Below a cover, where `_bind` makes what is needed.
                return
            if not self._may_enter(seen):
                data = "mode=755,size=1m,nr_inodes=4096"
                self._kernel.mount("tmpfs", ancestor, "tmpfs", _MS_NOSUID | _MS_NODEV, data)

    def _may_enter(self, seen: os.stat_result) -> bool:
        if seen.st_uid == self._uid:
            return bool(seen.st_mode & stat.S_IXUSR)
        if seen.st_gid in self._groups:
            return bool(seen.st_mode & stat.S_IXGRP)
        return bool(seen.st_mode & stat.S_IXOTH)

    def _bind(self, descriptor: int, path: str) -> None:
        wanted = os.fstat(descriptor)
        try:
            if os.path.samestat(os.stat(path), wanted):
                return
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            if stat.S_ISDIR(wanted.st_mode):
                os.mkdir(path, 0o755)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        self._kernel.mount(f"/proc/self/fd/{descriptor}", path, "", _MS_BIND | _MS_REC)


def _follow(path: str, links: dict[str, str]) -> str:
    """The real path of `path`; the symbolic links on the way are noted."""
    rest = path.split("/")[::-1]
    real = ""
    hops = 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            real = os.path.dirname(real).rstrip("/")
            continue
        here = f"{real}/{part}"
        try:
            target = os.readlink(here)
        except OSError:
            real = here
            continue
        links[here] = target
        hops += 1
        if hops > _MOST_LINKS:
            raise _StartError(f"{path} has too many symbolic links")
        if target.startswith("/"):
            real = ""
        rest += target.split("/")[::-1]
    return real or "/"


def _drop(kernel: _Kernel, wanted: _Wanted) -> None:
    kernel.leave_keyring()
    if wanted.processes:
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = wanted.processes if most == resource.RLIM_INFINITY else min(wanted.processes, most)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    os.setgroups(wanted.groups)
    os.setresgid(wanted.gid, wanted.gid, wanted.gid)
    os.setresuid(wanted.uid, wanted.uid, wanted.uid)
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        pass
    else:
        raise _StartError("root's rights came back")
    os.umask(wanted.umask)
    if wanted.death_signal:
        # Only now: the kernel forgets it whenever the user changes.
        kernel.prctl(_PR_SET_PDEATHSIG, wanted.death_signal)
        if os.getppid() != wanted.parent:
            raise _StartError("who started it has gone")


def _check(paths: list[str]) -> None:
    for path in paths:
        mode = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
        if not os.access(path, mode):
            raise _StartError(f"{path} cannot be read by other users")


def _enter(words: list[str], program: list[str]) -> None:
    wanted = _Wanted(words)
    kernel = _Kernel()
    network = -1
    if wanted.network:
        network = os.open(f"/run/netns/{wanted.network}", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(_CLONE_NEWNS)
    # What is mounted here stays here; what the system mounts or takes away later is seen.
    kernel.mount("none", "/", "", _MS_REC | _MS_SLAVE)
    if network >= 0:
        kernel.setns(network, _CLONE_NEWNET)
    os.umask(0o022)
    _View(kernel, wanted).expose(wanted.expose)
    # The old working directory may lie below a cover.
    os.chdir("/")
    _drop(kernel, wanted)
    os.chdir(wanted.cwd)
    _check(wanted.check)
    if program:
        os.execvp(program[0], program)  # noqa: S606 - there is no shell on purpose


def main(arguments: list[str]) -> int:
    """Entry point; does not return where a program was started."""
    divide = arguments.index("--") if "--" in arguments else len(arguments)
    try:
        _enter(arguments[:divide], arguments[divide + 1 :])
    except (_StartError, OSError, ValueError) as error:
        sys.stderr.write(f"Cannot start it with rights of its own: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
