"""Instances with users of their own reach their own accelerators' sockets, and no others."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.compute import exec_client
from elastic_inference.control.client import ControlClient
from elastic_inference.control.pool import Pool
from elastic_inference.isolation import users
from tests.cli import apps
from tests.pools import PATIENCE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not users.separation().possible, reason=users.separation().why_not),
]
StartPool = Callable[..., Pool]
_INFER = """\
import sys, numpy as np, elastic_inference
accelerator = elastic_inference.connect()
model = accelerator.load(sys.argv[1])
print(accelerator.transport, model.run({"x": np.arange(4, dtype=np.float32)})[0].tolist())
"""
_INTRUDE = """\
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(30)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b"GET /v2/health/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(connection.recv(100) or "closed")
except OSError as error:
    print(type(error).__name__)
"""


def run(client: ControlClient, instance_id: str, *command: str) -> tuple[int, str]:
    """Exit status and output of a command in an instance."""
    reader, writer = os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        with client.converse("Exec", {"instanceId": instance_id, "command": command}) as talk:
            status = exec_client.run(talk, stdin=nothing, stdout=writer, stderr=nothing)
        os.close(writer)
        with os.fdopen(reader) as output:
            return status, output.read()
    finally:
        os.close(nothing)


def test_shared_memory_is_for_an_instance_s_own_accelerator(start_pool: StartPool) -> None:
    pool = start_pool(outlive=True)
    client = ControlClient(pool.pointer, PATIENCE)
    one, other = (client.call("RunInstance", {"acceleratorTypes": ["eia1.medium"]}) for _ in "ab")
    # Where every user may read, as pytest's own folders are not.
    folder = Path(tempfile.gettempdir(), f"ei-{secrets.token_hex(8)}")
    folder.mkdir(mode=0o755)
    try:
        model = apps.double(folder)
        Path(model).chmod(0o644)
        status, output = run(client, one["instanceId"], "python", "-c", _INFER, model)
        assert (status, output) == (0, f"shm {apps.EXPECTED}\n")
        grant = client.call("Connect", other["accelerators"][0])
        path = grant["local"]["socket"]
        assert Path(path).is_socket()
        _, output = run(client, one["instanceId"], "python", "-c", _INTRUDE, path)
        assert output.strip() in {
            *("closed", "PermissionError", "ConnectionResetError", "BrokenPipeError")
        }
        _, output = run(client, other["instanceId"], "python", "-c", _INTRUDE, path)
        assert "HTTP/1.1 200" in output
    finally:
        Path(model).unlink()
        folder.rmdir()
