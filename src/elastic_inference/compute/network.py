"""Network namespaces of this machine's instances.

A namespace has a loopback device and no way out. The control plane listens inside it, for the
instance's metadata and for its pool; a socket stays in the namespace that it was made in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.errors import UnavailableError

_DIRECTORY = Path("/run/netns")
# A file for each namespace: what it belongs to. As the namespaces, it goes with a restart.
_OWNERS = Path("/run/elastic-inference/networks")
_PREFIX = "ei-"
_CLONE_NEWNET = 0x40000000
_BACKLOG = 128
_TIMEOUT = 30.0


def why_not() -> str:
    """Why there can be no namespaces here; "" where there can."""
    if os.geteuid() != 0:
        return "the pool does not run as root"
    if shutil.which("ip") is None:
        return "iproute2 (the command ip) is not installed"
    return ""


def name_of(instance_id: str) -> str:
    return _PREFIX + instance_id


def exists(name: str) -> bool:
    """Whether the namespace is there, and not only the file that a restart has left."""
    path = _DIRECTORY / name
    try:
        # Another file system than the directory's: the namespace is bound over the file.
        return path.stat().st_dev != _DIRECTORY.stat().st_dev
    except OSError:
        return False


def make(name: str, addresses: Sequence[str], owner: Path) -> None:
    """Make the namespace; its loopback device has `addresses` besides its own.

    Args:
        owner: an existing path; whoever finds it gone may remove the namespace.

    Raises:
        UnavailableError: the system does not allow it.
    """
    try:
        _OWNERS.mkdir(mode=0o700, parents=True, exist_ok=True)
        (_OWNERS / name).write_bytes(os.fsencode(owner))
    except OSError as error:
        raise UnavailableError(
            f"Cannot write {_OWNERS / name}: {error.strerror}.",
            next_step="EI_INSTANCE_NETWORK=host lets instances share the machine's network.",
        ) from error
    if not exists(name):
        # What a restart of the machine left would be in the way.
        with contextlib.suppress(FileNotFoundError):
            (_DIRECTORY / name).unlink()
        _ip(["netns", "add", name])
    lines = ["link set lo up"]
    lines += [f"address replace {each}/{128 if ':' in each else 32} dev lo" for each in addresses]
    _ip(["-n", name, "-batch", "-"], "\n".join(lines) + "\n")


def remove(name: str) -> None:
    """Remove the namespace's name; it ends with the last socket and process in it."""
    if (_DIRECTORY / name).exists():
        _ip(["netns", "delete", name])
    (_OWNERS / name).unlink(missing_ok=True)


def remove_orphans() -> None:
    """Remove namespaces without processes whose owners are gone, whichever pool made them.

    So nothing stays of a pool whose state was deleted while it did not run.
    """
    try:
        names = sorted(each.name for each in _OWNERS.iterdir())
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError, UnavailableError):
            owner = Path(os.fsdecode((_OWNERS / name).read_bytes()))
            if not owner.exists() and not (exists(name) and _ip(["netns", "pids", name]).strip()):
                remove(name)


def listen(name: str, addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Listening sockets inside the namespace.

    Raises:
        UnavailableError: they cannot be had.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def inside() -> None:
        # Only this thread enters, and it ends there: the process stays where it is.
        try:
            _enter(name)
            for host, port in addresses:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                made.append(socket.create_server((host, port), family=family, backlog=_BACKLOG))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=inside, name="namespace")
    thread.start()
    thread.join()
    if failed:
        for each in made:
            each.close()
        raise UnavailableError(
            f"Cannot listen inside the network namespace {name}: {failed[0].strerror}."
        ) from failed[0]
    return made


def _enter(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _ip(arguments: Sequence[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            ["ip", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"Cannot run the command ip: {error}.") from error
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise UnavailableError(
            f"Cannot set up an instance's network: {why}.",
            next_step="EI_INSTANCE_NETWORK=host lets instances share the machine's network.",
        )
    return done.stdout
