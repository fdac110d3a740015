"""Sockets for the data plane: options, listeners, and the pieces that read and write."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Container
from pathlib import Path

_BACKLOG = 128
_ESTABLISHED = "01"
# What an IPv4 address begins with where it is written as one of IPv6.
_MAPPED = bytes(10) + b"\xff\xff"


def listen_unix(
    path: Path, kind: int = socket.SOCK_STREAM, *, for_all: bool = False
) -> socket.socket:
    """A listener at `path`; what was there goes.

    Args:
        for_all: who can reach the folder can connect, and is looked at then; else only this user.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, kind)
    # The folder is a fence already; the file's own mode is a second one.
    previous = os.umask(0o111 if for_all else 0o177)
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


def peer_is_allowed(sock: socket.socket, others: Container[int] = ()) -> bool:
    """Whether the other end of a Unix socket is this user, root or one of `others`."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return uid in (0, os.geteuid()) or uid in others


def peer_is_this_user(sock: socket.socket) -> bool:
    """Whether the other end of a TCP connection is an open socket of this host and user.

    The kernel's own table of connections says who owns the other end; one in another network
    namespace or on another host is not in it. Root's do not count: relays of foreign connections
    often are root's, and so is, in the table, whatever was closed.
    """
    try:
        ends = _packed(sock.getpeername()), _packed(sock.getsockname())
    except (OSError, ValueError):
        return False
    # Many clients, gRPC's among them, reach IPv4 addresses by sockets of IPv6.
    return _owns("tcp", b"", ends) or _owns("tcp6", _MAPPED, ends)


def _owns(table: str, prefix: bytes, ends: tuple[tuple[bytes, int], tuple[bytes, int]]) -> bool:
    """Whether a table of the kernel's tells an open connection of this user with these ends."""
    wanted = [_hex_address(prefix + packed, port) for packed, port in ends]
    try:
        lines = Path("/proc/self/net", table).read_text("ascii").splitlines()
    except OSError:
        return False
    for line in lines[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return fields[3] == _ESTABLISHED and int(fields[7]) == os.geteuid()
    return False


def _packed(address: tuple[str, int]) -> tuple[bytes, int]:
    return socket.inet_aton(address[0]), address[1]


def _hex_address(packed: bytes, port: int) -> str:
    """An address and port as the kernel's tables write them: by words of the host."""
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
