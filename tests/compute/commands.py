"""Commands over a connection, started with this process's own rights."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elastic_inference.compute import exec_client
from elastic_inference.compute.base import ExecRequest
from elastic_inference.compute.execution import Execution
from elastic_inference.compute.stream import Stream

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8"}
Serve = Callable[[socket.socket], None]


def serve(*command: str, **document: Any) -> Serve:
    """What runs the command over a connection, as an instance's command is run."""
    request = ExecRequest.of({"command": list(command), **document})

    def run(connection: socket.socket) -> None:
        Execution(request, ENVIRONMENT, "/", wrap=list).run(Stream(connection))

    return run


@contextlib.contextmanager
def connected(run: Serve) -> Iterator[socket.socket]:
    """The client's end of a connection at whose other end `run` serves; it has ended after."""
    ours, theirs = socket.socketpair()

    def work() -> None:
        with theirs:
            run(theirs)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with ours:
            yield ours
    finally:
        thread.join()


def run(run: Serve, stdin: bytes = b"", *, tty: bool = False) -> tuple[int, bytes, bytes]:
    """Exit status, output and error output of a command that is given `stdin`."""
    with tempfile.TemporaryDirectory() as name, connected(run) as connection:
        files = [Path(name, each) for each in ("in", "out", "err")]
        files[0].write_bytes(stdin)
        with files[0].open("rb") as first, files[1].open("wb") as out, files[2].open("wb") as err:
            status = exec_client.run(
                connection, tty=tty, stdin=first.fileno(), stdout=out.fileno(), stderr=err.fileno()
            )
        return status, files[1].read_bytes(), files[2].read_bytes()
