"""Two machines on one: a network namespace behind a virtual Ethernet link of limited rate."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BURST = "256kb"
_LATENCY = "50ms"


def missing() -> str:
    """What this machine lacks for a link, in one line; "" if nothing."""
    if os.geteuid() != 0:
        return "a link needs root"
    for tool in ("ip", "tc", "unshare", "mount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: apt-get install iproute2 util-linux)"
    try:
        with link(rate="1gbit"):
            return ""
    except (RuntimeError, OSError) as error:
        return f"this machine makes no links: {error}"


@dataclass(frozen=True, slots=True)
class Link:
    """The far machine and the way to it.

    Attributes:
        namespace: the far machine's network namespace.
        near, far: the two ends' addresses.
        near_device, far_device: the two ends' network devices.
    """

    namespace: str
    near: str
    far: str
    near_device: str
    far_device: str

    def command(self, command: Sequence[str], hidden: Sequence[Path]) -> list[str]:
        """`command` on the far machine: its network, and empty folders in place of `hidden`."""
        mounts = "".join('mount -t tmpfs -o mode=1777 none "$1" && shift && ' for _ in hidden)
        return [
            *("ip", "netns", "exec", self.namespace, "unshare", "--mount"),
            *("--propagation", "private", "sh", "-c", f'{mounts}exec "$@"', "sh"),
            *(str(path) for path in hidden),
            *command,
        ]


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30.0)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def link(rate: str) -> Iterator[Link]:
    """A link of `rate` (as tc writes it) in both directions, until the context ends."""
    number = os.getpid() % 16000
    near, far = (f"10.213.{number // 63 % 254}.{number % 63 * 4 + host}" for host in (1, 2))
    made = Link(f"ei-{os.getpid()}", near, far, f"ei{number}n", f"ei{number}f")
    _ip("netns", "add", made.namespace)
    try:
        _ip("link", "add", made.near_device, "type", "veth", "peer", "name", made.far_device)
        _ip("link", "set", made.far_device, "netns", made.namespace)
        _ip("address", "add", f"{near}/30", "dev", made.near_device)
        _ip("link", "set", made.near_device, "up")
        inside = ("-n", made.namespace)
        _ip(*inside, "address", "add", f"{far}/30", "dev", made.far_device)
        _ip(*inside, "link", "set", made.far_device, "up")
        _ip(*inside, "link", "set", "lo", "up")
        limit = ("root", "tbf", "rate", rate, "burst", _BURST, "latency", _LATENCY)
        _run("tc", "qdisc", "add", "dev", made.near_device, *limit)
        _run("tc", "-n", made.namespace, "qdisc", "add", "dev", made.far_device, *limit)
        yield made
    finally:
        subprocess.run(["ip", "link", "delete", made.near_device], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", made.namespace], capture_output=True, check=False)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without anything that tells of a pool, and with `settings`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("EI_", "AWS_"))
    }
    return {**kept, **settings}
