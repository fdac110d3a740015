"""Two machines on one: network namespaces with a link between them, and nothing else in common."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("ip", "unshare", "mount")


def missing() -> str:
    """What this machine lacks to be two; "" if nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"needs {tool}"
    try:
        with two():
            return ""
    except RuntimeError as error:
        return str(error)


@dataclass(frozen=True, slots=True)
class Machine:
    """One of them.

    Attributes:
        namespace: its network namespace.
        address: its own.
        device: of the link.
    """

    namespace: str
    address: str
    device: str

    def command(self, words: Sequence[str], hidden: Sequence[Path] = ()) -> list[str]:
        """`words` on this machine, which has empty folders in place of `hidden`."""
        mounts = "".join('mount -t tmpfs -o mode=1777 none "$1" && shift && ' for _ in hidden)
        return [
            *("ip", "netns", "exec", self.namespace, "unshare", "--mount"),
            *("--propagation", "private", "sh", "-c", f'{mounts}exec "$@"', "sh"),
            *(str(path) for path in hidden),
            *words,
        ]

    def ip(self, *words: str) -> str:
        return _ip("-n", self.namespace, *words)


@contextlib.contextmanager
def two() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a link between them."""
    tag = secrets.token_hex(3)
    third, fourth = secrets.randbelow(254) + 1, secrets.randbelow(63) * 4
    one, other = (
        Machine(f"ei-test-{tag}-{name}", f"10.213.{third}.{fourth + number}", f"{name}0")
        for number, name in ((1, "pool"), (2, "host"))
    )
    with contextlib.ExitStack() as undo:
        for each in (one, other):
            _ip("netns", "add", each.namespace)
            undo.callback(_ip, "netns", "delete", each.namespace)
            each.ip("link", "set", "lo", "up")
        one.ip(
            *("link", "add", one.device, "type", "veth"),
            *("peer", "name", other.device, "netns", other.namespace),
        )
        for each in (one, other):
            each.ip("address", "add", f"{each.address}/30", "dev", each.device)
            each.ip("link", "set", each.device, "up")
        yield one, other


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30.0)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
