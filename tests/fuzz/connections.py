"""Targets that are connections of a whole accelerator: bytes, inferences, handshakes."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tests.accelerator.test_shared_memory import memfd
from tests.fuzz.accelerator import Accelerator, AnswersLostError, receive
from tests.fuzz.answers import Answer, read_answers
from tests.fuzz.documents import DOCUMENTS, X, inference, requests
from tests.fuzz.mutations import mutate_bytes, mutate_http
from tests.fuzz.parsers import hello, joined, mutate_joined, split
from tests.fuzz.target import Target

# Like nothing that lies elsewhere.
_MEMORY = X.tobytes() + b"\x5a\xa5" * 2040
_GRANTED, _KNOWN_FIRST, _KNOWN_LAST, _IN_TWO = 1, 2, 4, 8


class OnAccelerator(Target):
    """Shares what the targets of a whole accelerator have in common."""

    settle_every = 500

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._before: tuple[int, ...] | None = None

    def settle(self) -> None:
        now = self.accelerator.settle(self._before)
        self._before = self._before or now


class Connections(OnAccelerator):
    """A connection's bytes. The first byte of a case says what is said around the others.

    Whatever they are, the answers are well framed and name no defect; a known request before
    them is answered exactly, and one behind them exactly or not at all; and so is, then, a
    client on another connection.
    """

    name = "connections"
    cases = 120_000
    max_length = 8192

    def make_seeds(self) -> Sequence[bytes]:
        usual = _GRANTED | _KNOWN_FIRST | _KNOWN_LAST
        found = requests()
        return (
            *(bytes([usual]) + each for each in found),
            bytes([_KNOWN_LAST]) + found[0],
            bytes([usual | _IN_TWO]) + found[0] + found[-2],
            b"\0" + self.accelerator.authorised(found[0]),
        )

    def run(self, case: bytes) -> None:
        target, flags, hostile = self.accelerator, case[:1] or b"\0", case[1:]
        parts, awaited, last = [], b"", b""
        if flags[0] & _GRANTED:
            parts.append(target.authorised(b"GET /v2/health/ready HTTP/1.1\r\n\r\n"))
        if flags[0] & _KNOWN_FIRST:
            request, awaited = target.known("first")
            parts.append(target.authorised(request))
        half = len(hostile) // 2 if flags[0] & _IN_TWO else len(hostile)
        parts += [hostile[:half], hostile[half:]]
        if flags[0] & _KNOWN_LAST:
            request, last = target.known("last")
            parts.append(target.authorised(request))
        with contextlib.suppress(AnswersLostError):
            self._compare(read_answers(target.exchange(*parts)), flags[0], awaited, last)
        target.witness()

    def _compare(self, answers: list[Answer], flags: int, awaited: bytes, last: bytes) -> None:
        if awaited:
            first = answers[flags & _GRANTED]
            assert self._is(first, "first"), first
            assert first.tensors == awaited, "a foreign answer"
        ours = [answer for answer in answers if self._is(answer, "last")]
        assert len(ours) <= 1
        assert all(answer.tensors == last for answer in ours), "a foreign answer"

    def _is(self, answer: Answer, identity: str) -> bool:
        """Whether it answers a known request; its tensors alone may be for another model."""
        begin = f'{{"id":"{identity}","model_name":"{self.accelerator.known_model}"'
        return answer.status == 200 and answer.body.startswith(begin.encode())

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        flags = case[:1] if chance.random() < 0.8 else bytes([chance.randrange(16)])
        return flags + mutate_http(chance, case[1:], self.seeds)


class Inferences(OnAccelerator):
    """Inference requests that are well framed: their JSON and their tensors.

    Each is made twice on a connection that stays, and answered twice in the same way; where the
    model answers with what it is given, that is what comes. One that looks like a valid request
    follows it, and is answered as on a connection that knows neither.
    """

    name = "inferences"
    cases = 70_000
    CLIENT: ClassVar[str] = "EI-Client: " + "a" * 32

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__(accelerator)
        self._stack = contextlib.ExitStack()
        self._descriptor, self._memory = self._stack.enter_context(memfd(4096))
        self._connection: socket.socket | None = None
        valid = [inference(*document) for document in DOCUMENTS]
        self._valid = {len(request): request for request in valid}

    def make_seeds(self) -> Sequence[bytes]:
        names = [name for name, _, _ in DOCUMENTS]
        return tuple(
            bytes([names.index(name)]) + joined(document, data)
            for name, document, data in DOCUMENTS
        )

    def run(self, case: bytes) -> None:
        model = DOCUMENTS[(case[0] if case else 0) % len(DOCUMENTS)][0]
        raw, data = split(case[1:])
        # The same input wherever the last case left its output.
        self._memory[:] = memory = _MEMORY
        asked = inference(model, raw, data)
        similar = self._valid.get(len(asked))
        if similar is not None:
            self._ask(similar)
        first = self._ask(asked)
        if first.status == 200:
            _check_echo(model, raw, data, first, memory)
        if first.headers.get("connection") != "close":
            _check_same(first, self._ask(asked))
        if similar is not None:
            with self._open() as fresh:
                fresh.sendall(asked)
                _check_same(first, receive(fresh))
        self.accelerator.witness()

    def _ask(self, request: bytes) -> Answer:
        if self._connection is None:
            self._connection = self._open()
        self._connection.sendall(request)
        answer = receive(self._connection)
        if answer.headers.get("connection") == "close":
            self._hang_up()
        return answer

    def _open(self) -> socket.socket:
        connection = self.accelerator.connect(unix=True)
        offer = self.accelerator.authorised(
            f"PUT /v2/elastic-inference/memory/r HTTP/1.1\r\n{self.CLIENT}\r\n"
            "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        connection.sendall(offer)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        socket.send_fds(connection, [b"\0"], [self._descriptor])
        assert receive(connection).status in (200, 409)
        return connection

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.2 and case:
            changed = bytearray(case)
            changed[chance.randrange(len(case))] = chance.choice(b'0123456789xy":,[]{} \xff')
            return bytes(changed)
        seeds = tuple(seed[1:] for seed in self.seeds)
        return case[:1] + mutate_joined(chance, case[1:], seeds)

    def settle(self) -> None:
        self._hang_up()
        super().settle()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self._hang_up()
        self._stack.close()


def _check_same(one: Answer, other: Answer) -> None:
    assert one.status == other.status, (one, other)
    # An error's identity differs.
    assert one.status != 200 or one.body == other.body, (one, other)


def _check_echo(model: str, raw: bytes, data: bytes, answer: Answer, memory: bytes) -> None:
    """A tensor that came in binary form, or lay in memory, comes back as it was."""
    (entry,) = json.loads(raw)["inputs"]
    length = len(answer.body) - len(answer.tensors)
    (output,) = json.loads(answer.body[:length])["outputs"]
    parameters: dict[str, Any] = entry.get("parameters", {})
    shared = "shared_memory_region" in parameters
    if not shared and "binary_data_size" not in parameters:
        return
    if model == "nibble":
        assert output["datatype"] == "FP32"
    elif "data" in output:
        assert np.prod(output["shape"]) == len(output["data"])
    elif "shared_memory_region" not in output["parameters"]:
        same = answer.tensors in memory if shared else answer.tensors == data
        assert same, "another tensor came back"


class Handshakes(OnAccelerator):
    """What is said where TLS is expected: never answered by anything but TLS."""

    name = "handshakes"
    cases = 25_000

    def make_seeds(self) -> Sequence[bytes]:
        first = hello("eia-0.example")
        return first, hello(None), first + first, first[:5], requests()[0]

    def run(self, case: bytes) -> None:
        heard = self.accelerator.exchange(case, tls=True)
        assert not heard or heard[0] in (20, 21, 22, 23), heard[:100]
        self.accelerator.witness()

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        return mutate_bytes(chance, case, self.seeds)
