"""What an accelerator that was taken over may say to the control plane."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elastic_inference.catalog import BUILTIN
from elastic_inference.errors import UnavailableError
from elastic_inference.fleet.base import Order, Placement
from elastic_inference.fleet.control_connection import ControlConnection
from elastic_inference.fleet.resident import Resident, Ways
from elastic_inference.settings import Limits

_DEEP = b'{"kind":' + b"[" * 4000


@contextmanager
def saying(path: Path, kind: int, speak: Callable[[socket.socket], object]) -> Iterator[None]:
    """Somebody listens at `path` and speaks to the first who connects."""
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                speak(connection)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10.0)


def test_a_greeting_that_is_nested_deeply_is_none(short_path: Path) -> None:
    path = short_path / "handover.sock"
    with (
        saying(path, socket.SOCK_SEQPACKET, lambda connection: connection.send(_DEEP)),
        pytest.raises(UnavailableError, match="nested"),
    ):
        ControlConnection.open(path, "eia-1", 10.0)


def test_an_answer_that_is_nested_deeply_is_none(short_path: Path) -> None:
    order = Order(
        accelerator_id="eia-1",
        accelerator_type=BUILTIN[0],
        account="0",
        token_key=bytes(32),
        server_name="",
        certificate=b"",
        private_key=b"",
        placement=Placement("here", "cpu", 1 << 30, 1, 100, "0"),
    )
    ways = Ways(limits=Limits(), start_timeout=1.0, lifeline=None)
    resident = Resident(order, short_path, short_path, ways)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_DEEP)

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(head + _DEEP)

    with (
        saying(resident.data_socket, socket.SOCK_STREAM, answer),
        pytest.raises(UnavailableError, match="nested"),
    ):
        resident.ask("/v2/elastic-inference/accelerator", "token")
