"""The accelerator that is measured, and every way to reach it."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import WorkerProcess
from tests.endpoint import SERVER_NAME, Endpoint, make_certificate
from tests.processes import AcceleratorProcess

TRANSPORTS = ("tls", "tcp", "unix", "shm")
_LONGEST_PREPARATION = 60.0
_PAUSE = 0.01


class Target:
    """One accelerator process behind a TLS address, on plain TCP and on a Unix socket.

    Attributes:
        process: the accelerator.
        certificate, private_key: what it shows; the floor uses the same.
        endpoint: its TLS address.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.certificate, self.private_key = make_certificate(directory)
        self.process = AcceleratorProcess(
            directory,
            server_name=SERVER_NAME,
            certificate=self.certificate,
            private_key=self.private_key,
            **settings,
        )
        self.endpoint = Endpoint(self.process.config.handover_socket)

    def grant(self, transport: str) -> dict[str, Any]:
        """What a worker needs to reach it by `transport`, one of TRANSPORTS."""
        token = self.process.token(lifetime=3600.0)
        grant: dict[str, Any] = {"transport": transport, "token": token}
        if transport == "tls":
            grant["address"] = {
                "host": "127.0.0.1",
                "port": self.endpoint.port,
                "tls": True,
                "server_name": SERVER_NAME,
                "ca": str(self.certificate),
            }
        elif transport == "tcp":
            grant["address"] = {"host": "127.0.0.1", "port": self.process.port, "tls": False}
        else:
            grant["address"] = {"socket_path": str(self.process.config.data_socket)}
        return grant

    def settle(self) -> None:
        """Wait until no model is being prepared in the background.

        Raises:
            RuntimeError: that takes too long.
        """
        deadline = time.monotonic() + _LONGEST_PREPARATION
        while time.monotonic() < deadline:
            _, _, body = self.process.request("GET", "/v2/elastic-inference/accelerator")
            if json.loads(body)["preparing"] == 0:
                return
            time.sleep(_PAUSE)
        raise RuntimeError("a model is being prepared for too long")

    def close(self) -> None:
        self.endpoint.close()
        self.process.stop()


@contextlib.contextmanager
def target(**settings: Any) -> Iterator[Target]:
    """An accelerator for the length of a section."""
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        running = Target(Path(name), **settings)
        try:
            yield running
        finally:
            running.close()


@contextlib.contextmanager
def workers(count: int, **environment: str) -> Iterator[Sequence[WorkerProcess]]:
    """Worker processes for the length of a section."""
    started: list[WorkerProcess] = []
    try:
        started.extend(WorkerProcess(environment) for _ in range(count))
        yield started
    finally:
        for worker in started:
            worker.close()
