"""An accelerator under fire, and a client of it that knows the right answers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote

import numpy as np
from onnx import TensorProto, helper

from elastic_inference.protocol.tensors import Array
from tests.accelerator.graphs import identity, model, value_info
from tests.accelerator.http_client import scale_model
from tests.fuzz.answers import Answer, read_answers
from tests.fuzz.documents import inference, request
from tests.fuzz.grpc_client import GREETING, call, header_block

# Nothing here computes for long: who is silent for so many seconds hangs.
PATIENCE = 60.0
# A crowd whose own thread had a long job keeps the thread that read on meanwhile.
_READERS = 4
_WITNESS = "EI-Client: " + "f" * 32


def models() -> dict[str, bytes]:
    """What is loaded, by name; most of them answer with what they are given."""
    return {
        "float": identity(TensorProto.FLOAT, None),
        "text": identity(TensorProto.STRING, None),
        "flag": identity(TensorProto.BOOL, None),
        "nibble": _nibbles(),
        "list": _sequence(),
    }


def _nibbles() -> bytes:
    return model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [value_info("x", TensorProto.INT4, None)],
        [value_info("y", TensorProto.FLOAT, None)],
        opsets={"": 21},
    )


def _sequence() -> bytes:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


class AnswersLostError(Exception):
    """The other end hung up with bytes unread; TCP forgets then what it said before."""


class Accelerator(ABC):
    """What is attacked.

    Attributes:
        token: opens it.
        known_model: handle of a model that answers with twice its input; nobody unloads it.
        uploads: hashes of the files that are to stay.
    """

    token: str

    def prepare(self) -> None:
        """Load what is needed and connect the witness."""
        self._number = 0
        self.uploads: set[str] = set()
        self._models = models()
        self._witness = self.connect()
        self._load_models()
        self.known_model = self._load_known()
        self.witness()
        # What all connections of a kind share begins with the first of them.
        self.exchange(GREETING, call(1, header_block("/grpc.health.v1.Health/Check"), b""))

    @abstractmethod
    def connect(self, *, tls: bool = False, unix: bool = True) -> socket.socket:
        """A new connection to it."""

    @abstractmethod
    def check(self) -> None:
        """Raise AssertionError if it died, or told of a defect."""

    @abstractmethod
    def leftovers(self) -> tuple[int, ...]:
        """How many threads, file descriptors and folders of models there are."""

    def close(self) -> None:
        """End it."""
        self._witness.close()

    # Requests

    def authorised(self, asked: bytes) -> bytes:
        """`asked` with the token."""
        line, _, rest = asked.partition(b"\r\n")
        return line + b"\r\nAuthorization: Bearer " + self.token.encode() + b"\r\n" + rest

    def ask(self, method: str, path: str, document: Any = None, *more: str) -> Answer:
        """One request of a well-behaved client."""
        raw = document if isinstance(document, bytes) else json.dumps(document or {}).encode()
        self._witness.sendall(self.authorised(request(method, path, raw, *more)))
        return receive(self._witness)

    def exchange(self, *parts: bytes, tls: bool = False) -> bytes:
        """All that is said on a connection on which `parts` are said, and then nothing more.

        Raises:
            AnswersLostError: it is not known.
        """
        with self.connect(tls=tls, unix=not self._number & 1) as connection:
            # It may have heard enough and hung up by then.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    connection.sendall(part)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            heard = bytearray()
            try:
                while part := connection.recv(65536):
                    heard += part
            except ConnectionResetError:
                if connection.family != socket.AF_UNIX:
                    raise AnswersLostError from None
            except TimeoutError:
                raise AssertionError(
                    f"the connection hangs after {bytes(heard[-200:])!r}"
                ) from None
        return bytes(heard)

    def known(self, identity: str = "") -> tuple[bytes, bytes]:
        """A request that nobody made before, and the tensors of its answer."""
        x, tensors = self.known_tensor()
        entry = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
        document = {
            **({"id": identity} if identity else {}),
            "inputs": [{**entry, "parameters": {"binary_data_size": 16}}],
            "parameters": {"binary_data_output": True},
        }
        raw = json.dumps(document, separators=(",", ":")).encode()
        return inference(self.known_model, raw, x.tobytes()), tensors

    def known_tensor(self) -> tuple[Array, bytes]:
        """An input that the known model was not given before, and what it answers."""
        self._number += 1
        x = np.arange(self._number, self._number + 4, dtype=np.float32)
        return x, (x * 2).tobytes()

    def witness(self) -> None:
        """Check that a client from before gets the right answer, and nobody told of a defect."""
        asked, tensors = self.known()
        self._witness.sendall(asked)
        answer = receive(self._witness)
        assert answer.status == 200, answer
        assert answer.tensors == tensors, "a foreign answer"
        self.check()

    # Models

    def upload(self, data: bytes) -> str:
        """Store a file; its hash."""
        digest = hashlib.sha256(data).hexdigest()
        part = f"Content-Range: bytes 0-{len(data) - 1}/{len(data)}"
        answer = self.ask("PUT", f"/v2/elastic-inference/blobs/{digest}", data, part)
        assert answer.status in (200, 201), answer
        self.uploads.add(digest)
        return digest

    def load(self, name: str, data: bytes) -> Answer:
        """Load a model under a name."""
        parameters = {"file:1/model.onnx": base64.b64encode(data).decode()}
        path = f"/v2/repository/models/{name}/load"
        return self.ask("POST", path, {"parameters": parameters})

    def unload(self, name: str) -> None:
        """Unload what has that name; the lease of a connection that names no client ends too."""
        self.exchange(
            self.authorised(request("POST", f"/v2/repository/models/{name}/unload", b"{}"))
        )

    def _load_models(self) -> None:
        for name, data in self._models.items():
            assert self.load(name, data).status == 200

    def _load_known(self) -> str:
        """Its lease is the witness's own, so that nobody else can end it."""
        digest = self.upload(scale_model(2))
        document = {"files": {"model.onnx": digest}, "main": "model.onnx"}
        answer = self.ask("POST", "/v2/elastic-inference/models", document, _WITNESS)
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["name"])

    # What is left

    def settle(self, before: tuple[int, ...] | None) -> tuple[int, ...]:
        """Check that only what was there before is there now.

        Args:
            before: what `leftovers` told, or None to begin with what there is.

        Returns:
            What `leftovers` tells now.
        """
        keep = {*self._models, self.known_model}
        answer = self.ask("POST", "/v2/repository/index", {"ready": True})
        for each in json.loads(answer.body):
            if each["name"] not in keep:
                self.unload(quote(each["name"], safe=""))
        self.ask("POST", "/v2/systemsharedmemory/unregister")
        self._load_models()
        if before is None:
            self._crowd()
        else:
            self._wait_for(before)
        return self.leftovers()

    def _crowd(self) -> None:
        """Have that set up which many connections share; it stays."""
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                connection = stack.enter_context(self.connect())
                connection.sendall(self.authorised(request("GET", "/v2", b"")))
                assert receive(connection).status == 200

    def _wait_for(self, before: tuple[int, ...]) -> None:
        most = (before[0] + _READERS, *before[1:])
        deadline = time.monotonic() + PATIENCE
        while not all(map(int.__le__, now := self.leftovers(), most)):
            assert time.monotonic() < deadline, (
                f"threads, descriptors and models: {now}, before {before}; "
                f"threads: {sorted(each.name for each in threading.enumerate())}"
            )
            time.sleep(0.001)


def receive(connection: socket.socket) -> Answer:
    """The next answer on a connection on which nothing else is under way."""
    heard = b""
    while True:
        part = connection.recv(65536)
        assert part, "the connection ended"
        heard += part
        with contextlib.suppress(ValueError, AssertionError):
            (answer,) = read_answers(heard)
            return answer
