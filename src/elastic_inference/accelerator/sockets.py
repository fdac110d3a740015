"""Sockets for the data plane: options, listeners, and the pieces that read and write."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

_BACKLOG = 128
_ESTABLISHED = "01"


def listen_unix(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A listener at `path` that this user alone can reach; what was there goes."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, kind)
    # The folder is 0700 already; the file's own mode is a second fence.
    previous = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(previous)
    sock.listen(_BACKLOG)
    return sock


def listen_tcp(address: str) -> socket.socket:
    """A listener at `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, int(port)))
    sock.listen(_BACKLOG)
    return sock


def peer_is_allowed(sock: socket.socket) -> bool:
    """Whether the other end of a Unix socket is this user or root."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return uid in (0, os.geteuid())


def peer_is_this_user(sock: socket.socket) -> bool:
    """Whether the other end of a TCP connection is an open socket of this host and user.

    The kernel's own table of connections says who owns the other end; one in another network
    namespace or on another host is not in it. Root's do not count: relays of foreign connections
    often are root's, and so is, in the table, whatever was closed.
    """
    try:
        wanted = _hex_address(sock.getpeername()), _hex_address(sock.getsockname())
        table = Path("/proc/self/net/tcp").read_text("ascii")
    except (OSError, ValueError):
        return False
    for line in table.splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == wanted:
            return fields[3] == _ESTABLISHED and int(fields[7]) == os.geteuid()
    return False


def _hex_address(address: tuple[str, int]) -> str:
    """An IPv4 address and port as the kernel's table writes them."""
    packed = socket.inet_aton(address[0])
    return f"{int.from_bytes(packed, sys.byteorder):08X}:{address[1]:04X}"
