"""A raw socket server that stands for a hostile or broken accelerator."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.settings import ClientSettings

INFO = {"accelerator_id": "eia-" + "ab" * 16, "accelerator_type": "eia1.medium"}
LOADED = {
    "name": "ab" * 32,
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}
Script = Callable[[socket.socket, bytes, bytes], None]


def answer(body: bytes, *, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, extra, len(body), body)


def tensor_answer(document: object, data: bytes) -> bytes:
    raw = json.dumps(document).encode()
    return answer(raw + data, extra=b"Inference-Header-Content-Length: %d\r\n" % len(raw))


class Peer:
    """Greets as an accelerator does; `infer` and `loaded` are what the test wants them to be."""

    def __init__(self, infer: Script, loaded: bytes | None = None) -> None:
        self._infer = infer
        self._loaded = json.dumps(LOADED).encode() if loaded is None else loaded
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.requests: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while (field := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = field.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = stream.read(length)
                self.requests.append(line)
                if b"/infer " in line:
                    self._infer(sock, line, body)
                elif b"elastic-inference/accelerator " in line:
                    sock.sendall(answer(json.dumps(INFO).encode()))
                elif b"elastic-inference/models " in line:
                    sock.sendall(answer(self._loaded))
                else:
                    sock.sendall(answer(b"{}"))

    def connect(self, **settings: object) -> Accelerator:
        fields: dict[str, object] = {"timeout": 30.0, "recovery_timeout": 5.0, **settings}
        return connect(
            settings=ClientSettings(**fields),  # type: ignore[arg-type]  # by name
            address=Address(host="127.0.0.1", port=self.port, tls=False),
            token="token",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in list(self._threads):
            thread.join(10.0)
