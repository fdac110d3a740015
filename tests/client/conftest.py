"""A real accelerator, reached over each transport."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.settings import ClientSettings
from tests.endpoint import SERVER_NAME, Endpoint, make_certificate
from tests.processes import AcceleratorProcess

TRANSPORTS = ("tcp", "tls", "unix", "shm")


class Reachable:
    """An accelerator process with all its addresses.

    Attributes:
        process: may be killed and started again in the same folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        certificate, key = make_certificate(directory)
        self._settings: dict[str, Any] = {
            "certificate": certificate,
            "private_key": key,
            "server_name": SERVER_NAME,
        }
        self.ca = str(certificate)
        self.port = 0
        self.endpoint: Endpoint | None = None
        self.start()

    def start(self) -> None:
        """Start the process; plain TCP keeps its port."""
        self.process = AcceleratorProcess(
            self._directory, listen=f"127.0.0.1:{self.port}", **self._settings
        )
        self.port = self.process.port
        self.endpoint = Endpoint(self.process.config.handover_socket)

    def kill(self) -> None:
        """End the process as kill -9 does."""
        self.process.process.kill()
        self.stop()

    def stop(self) -> None:
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None
        self.process.stop()

    def address(self, transport: str) -> Address:
        if transport == "tcp":
            return Address(host="127.0.0.1", port=self.port, tls=False)
        if transport == "tls":
            port = self.endpoint.port if self.endpoint else 0
            return Address(host="127.0.0.1", port=port, server_name=SERVER_NAME, ca=self.ca)
        return Address(socket_path=str(self.process.config.data_socket))

    def connect(self, transport: str, *, token: str | None = None, **settings: Any) -> Accelerator:
        wanted = "tls" if transport == "tcp" else transport
        return connect(
            settings=ClientSettings(**{"transport": wanted, "timeout": 30.0, **settings}),
            address=self.address(transport),
            token=self.process.token() if token is None else token,
        )


@pytest.fixture(scope="module")
def reachable() -> Iterator[Reachable]:
    """One accelerator process for the tests of a file that do not end it."""
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        it = Reachable(Path(name))
        try:
            yield it
        finally:
            it.stop()


@pytest.fixture
def mortal(short_path: Path) -> Iterator[Reachable]:
    """An accelerator process that the test may kill."""
    it = Reachable(short_path)
    try:
        yield it
    finally:
        it.stop()


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def attach(reachable: Reachable, transport: str) -> Iterator[Callable[..., Accelerator]]:
    """Connect over each transport in turn; closed with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(reachable.connect(transport, **settings))
