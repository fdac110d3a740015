"""What both ends of a connection ask of their host."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

# BBR paces loopback and halves the speed of large tensors; a window-based algorithm does not.
_CONGESTION_CONTROLS = (b"cubic", b"reno")


def boot_id() -> str:
    """Identifies this host since its last boot; "" where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def tune(sock: socket.socket) -> None:
    """Set the options of a TCP data connection; other sockets stay as they are."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in _CONGESTION_CONTROLS:
        # Which algorithms there are, and which an ordinary user may choose, is the host's.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
            break
