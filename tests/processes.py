"""A real accelerator process, started and ended by a test or a benchmark."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.protocol.tokens import Claims, mint

TOKEN_KEY = "5a" * 32
ACCELERATOR_ID = "eia-" + "0123456789abcdef" * 2
ACCOUNT = "000000000000"
_START_TIMEOUT = 30.0


class AcceleratorProcess:
    """One accelerator process and how to reach it.

    Attributes:
        config: what it was started with.
        port: of its plain TCP listener on 127.0.0.1.
    """

    def __init__(
        self, directory: Path, *, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        """Start it and wait until it is ready.

        Args:
            directory: an empty folder of the caller's; a short path, since sockets lie in it.
            environment: variables that it gets besides this process's own.
            settings: fields of AcceleratorConfig to change.
        """
        run = directory / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = directory / "store"
        store.mkdir(mode=0o700, exist_ok=True)
        # The process lives while the write end is open, so it cannot outlive the tests.
        lifeline_read, self._lifeline = os.pipe()
        fields: dict[str, Any] = {
            "accelerator_id": ACCELERATOR_ID,
            "accelerator_type": "eia1.medium",
            "account": ACCOUNT,
            "memory_bytes": 1 << 30,
            "threads": 1,
            "directory": run,
            "store_directory": store,
            "token_key": TOKEN_KEY,
            "listen": "127.0.0.1:0",
            "lifeline_fd": lifeline_read,
        }
        self.config = AcceleratorConfig(**{**fields, **settings})
        path = run / "config.json"
        self.config.to_file(path)
        ready_read, ready_write = os.pipe()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "elastic_inference.accelerator", str(path)),
                *("--ready-fd", str(ready_write)),
            ],
            pass_fds=(ready_write, lifeline_read),
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
        os.close(ready_write)
        os.close(lifeline_read)
        try:
            self.ready = _read_ready(ready_read)
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(ready_read)
        self.port: int = self.ready["port"] or 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def token(self, *, lifetime: float = 600.0, **claims: Any) -> str:
        """A token for this accelerator; `claims` changes what it says."""
        says = Claims(
            self.config.accelerator_id, "i-test", self.config.account, time.time() + lifetime
        )
        return mint(bytes.fromhex(self.config.token_key), dataclasses.replace(says, **claims))

    def connect(self, *, unix: bool = False, timeout: float = 30.0) -> socket.socket:
        """A new data connection, with nothing sent on it."""
        if not unix:
            return socket.create_connection(("127.0.0.1", self.port), timeout)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        connection.connect(str(self.config.data_socket))
        return connection

    def request(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers (lower case) and body.

        A dict goes as JSON. A valid token is sent unless `headers` has an Authorization.
        """
        payload = json.dumps(body).encode() if isinstance(body, dict) else body
        send = {"Authorization": f"Bearer {self.token()}", **(headers or {})}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60.0)
        try:
            connection.request(method, path, payload, send)
            answer: HTTPResponse = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read()
        finally:
            connection.close()

    def terminate(self, timeout: float = 60.0) -> int:
        """End it gracefully; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop(self) -> None:
        """End it now, if it still runs."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10.0)


def _read_ready(descriptor: int) -> dict[str, Any]:
    readable, _, _ = select.select([descriptor], [], [], _START_TIMEOUT)
    if not readable:
        raise TimeoutError("the accelerator process did not say that it is ready")
    line = b""
    while not line.endswith(b"\n") and (part := os.read(descriptor, 65536)):
        line += part
    message: dict[str, Any] = json.loads(line or b'{"error": "it ended"}')
    if "error" in message:
        raise RuntimeError(f"the accelerator process did not start: {message['error']}")
    return message
