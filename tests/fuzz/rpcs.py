"""Targets that speak gRPC: its messages, its calls, and the frames of HTTP/2 below them."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from google.protobuf.message import DecodeError
from hpack import Decoder, Encoder, HPACKError
from tritonclient.grpc import service_pb2

from elastic_inference.protocol import grpc_inference, http2
from elastic_inference.protocol.grpc_inference import read_request
from elastic_inference.protocol.grpc_messages import MESSAGES
from elastic_inference.protocol.http2_headers import HeaderDecoder
from elastic_inference.protocol.protobuf import decode
from tests.fuzz.accelerator import Accelerator
from tests.fuzz.answers import read_answers
from tests.fuzz.connections import OnAccelerator
from tests.fuzz.documents import X
from tests.fuzz.grpc_client import GREETING, SERVICE, Answers, Call, call, header_block
from tests.fuzz.loads import plain
from tests.fuzz.mutations import mutate_bytes
from tests.fuzz.target import Target, accepted
from tests.fuzz.wire import mutate_message

_INFER = SERVICE + "ModelInfer"
_STREAM = SERVICE + "ModelStreamInfer"
_HEALTH = "/grpc.health.v1.Health/"
_KNOWN_FIRST, _GREETED, _KNOWN_LAST, _IN_TWO = 1, 2, 4, 8
_MAX_LIST = 8192
_LAST_STREAM = http2.STREAM_MASK


def inference(model: str, datatype: str, shape: list[int], raw: bytes | None, **more: Any) -> bytes:
    """A `ModelInferRequest` for a model here, with raw contents unless there are none."""
    asked = service_pb2.ModelInferRequest(model_name=model, id=more.pop("identity", ""))
    asked.inputs.add(name="x", datatype=datatype, shape=shape, **more)
    if raw is not None:
        asked.raw_input_contents.append(raw)
    return bytes(asked.SerializeToString())


def inferences() -> tuple[bytes, ...]:
    """Valid inferences of every kind."""
    region = {
        "shared_memory_region": service_pb2.InferParameter(string_param="r"),
        "shared_memory_byte_size": service_pb2.InferParameter(int64_param=16),
    }
    contents = service_pb2.InferTensorContents
    asked = service_pb2.ModelInferRequest(model_name="float", model_version="1", id="i")
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    asked.outputs.add(name="y").parameters["binary_data"].bool_param = True
    asked.parameters["priority"].uint64_param = 1
    asked.raw_input_contents.append(X.tobytes())
    return (
        inference("float", "FP32", [1, 4], X.tobytes()),
        inference("float", "FP32", [4], X.tobytes(), identity="7"),
        bytes(asked.SerializeToString()),
        inference("float", "FP32", [2], None, contents=contents(fp32_contents=[1.5, 2])),
        inference("text", "BYTES", [2], b"\1\0\0\0a\2\0\0\0bc"),
        inference("text", "BYTES", [1], None, contents=contents(bytes_contents=[b"a\xff"])),
        inference("flag", "BOOL", [4], b"\0\1\1\0"),
        inference("flag", "BOOL", [2], None, contents=contents(bool_contents=[True, False])),
        inference("float", "FP32", [4], None, parameters=region),
    )


class Messages(Target):
    """Protobuf messages: what is accepted says what it says to Google's own parser."""

    name = "messages"
    cases = 60_000
    NAMES: ClassVar[tuple[str, ...]] = (
        "ModelInferRequest",
        "RepositoryModelRequest:RepositoryModelLoadRequest",
        "SystemSharedMemoryRegisterRequest",
        "ModelInferResponse",
    )

    def make_seeds(self) -> Sequence[bytes]:
        register = service_pb2.SystemSharedMemoryRegisterRequest(
            name="r", key="/k", offset=1, byte_size=2
        )
        return (
            *(b"\0" + each for each in inferences()),
            b"\1" + _load_request(),
            b"\2" + register.SerializeToString(),
            b"\3" + service_pb2.ModelInferResponse(raw_output_contents=[b"a"]).SerializeToString(),
        )

    def run(self, case: bytes) -> None:
        message = memoryview(bytearray(case[1:]))
        ours, _, theirs = self.NAMES[(case[0] if case else 0) % len(self.NAMES)].partition(":")
        found = accepted(decode, MESSAGES[ours], message)
        if found is None:
            return
        other = _parse(getattr(service_pb2, theirs or ours), bytes(message))
        if other is None:
            # What protobuf refuses, we may pass over, so long as nobody is asked for it.
            return
        for name in ("name", "key", "offset", "byte_size", "model_name", "model_version", "id"):
            if hasattr(other, name):
                assert found.get(name, type(getattr(other, name))()) == getattr(other, name), name
        if ours == "ModelInferRequest":
            _compare(found, other, message)
            _check_remembered(message)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.2 and case:
            changed = bytearray(case)
            changed[chance.randrange(len(case))] = chance.randrange(256)
            return bytes(changed)
        others = tuple(seed[1:] for seed in self.seeds)
        if chance.random() < 0.7:
            return case[:1] + mutate_message(chance, case[1:], others)
        return case[:1] + mutate_bytes(chance, case[1:], others)


def _compare(found: dict[str, Any], other: Any, message: memoryview) -> None:
    raw = [bytes(message[start:end]) for start, end in found.get("raw_input_contents", [])]
    assert raw == list(other.raw_input_contents)
    inputs = found.get("inputs", [])
    assert len(inputs) == len(other.inputs)
    for ours, theirs in zip(inputs, other.inputs, strict=True):
        assert ours.get("name", "") == theirs.name
        assert ours.get("datatype", "") == theirs.datatype
        shape = ours["shape"].array().tolist() if "shape" in ours else []
        assert shape == list(theirs.shape)
        # Google's parser leaves out entries that have more than a key and a value.
        assert theirs.parameters.keys() <= ours.get("parameters", {}).keys()


def _check_remembered(message: memoryview) -> None:
    """What is known of a request by earlier ones is what it says itself."""
    known = accepted(read_request, message)
    at, after_id = grpc_inference._find_id(message)
    read = accepted(grpc_inference._parse, message, at, after_id)
    if known is None or read is None:
        # An id that is no text is looked at each time.
        assert known is None
        return
    for name in ("name", "version", "align_at", "plain", "in_message"):
        assert getattr(known[0], name) == getattr(read, name), name
    for name in ("signature", "output_names", "outputs", "output_region", "inputs"):
        assert repr(getattr(known[0].request, name)) == repr(getattr(read.request, name)), name


class Headers(Target):
    """Header blocks of one connection: each says what a decoder without a memory says.

    A case has the blocks one after the other, each behind its length in two bytes.
    """

    name = "headers"
    cases = 50_000

    def make_seeds(self) -> Sequence[bytes]:
        plain = (
            (":method", "POST"), (":scheme", "http"), (":path", _INFER), (":authority", "t"),
            ("te", "trailers"), ("content-type", "application/grpc"), ("grpc-timeout", "1S"),
        )  # fmt: skip
        token = (*plain, ("authorization", "Bearer x"), ("ei-client", "a" * 32))
        small = Encoder()
        small.header_table_size = 64
        return (
            self._case(Encoder(), plain, plain, plain),
            self._case(Encoder(), token, plain, token),
            self._case(small, plain, token, plain),
            self._case(Encoder(), (*plain, ("grpc-encoding", "gzip")), (), plain[:3]),
            _behind_length(header_block(_INFER, "x")) * 3,
        )

    def _case(self, encoder: Encoder, *blocks: tuple[tuple[str, str], ...]) -> bytes:
        return b"".join(_behind_length(encoder.encode(list(block))) for block in blocks)

    def run(self, case: bytes) -> None:
        ours, other = HeaderDecoder(_MAX_LIST), Decoder(max_header_list_size=_MAX_LIST)
        at = 0
        while at + 2 <= len(case):
            end = at + 2 + int.from_bytes(case[at : at + 2], "big")
            block, at = case[at + 2 : end], end
            try:
                expected = other.decode(block, raw=True)
            except (HPACKError, IndexError, ValueError):
                expected = None
            try:
                found = ours.request(block, 1)
            except http2.StreamError:
                assert expected is not None
                continue
            except http2.Http2Error:
                assert expected is None
                return
            assert expected is not None
            said = dict(expected)
            assert found.path.encode("latin-1") == said[b":path"]
            assert found.method == said[b":method"]
            assert found.authorization == said.get(b"authorization")
            names = {name.decode("latin-1") for name in said}
            assert found.metadata.keys() <= names


def _behind_length(block: bytes) -> bytes:
    return len(block).to_bytes(2, "big") + block


def _parse(kind: Any, raw: bytes) -> Any:
    made = kind()
    try:
        made.ParseFromString(raw)
    except DecodeError:
        return None
    return made


def _load_request() -> bytes:
    asked = service_pb2.RepositoryModelLoadRequest(model_name="fuzzed")
    asked.parameters["config"].string_param = '{"backend":"onnxruntime"}'
    asked.parameters["file:1/model.onnx"].bytes_param = plain()
    return bytes(asked.SerializeToString())


class Conversation:
    """A client's connection."""

    def __init__(self, accelerator: Accelerator, *, greets: bool = True) -> None:
        self.socket: socket.socket = accelerator.connect()
        self.answers = Answers()
        self._number = -1
        if greets:
            self.socket.sendall(GREETING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, block: bytes, *messages: bytes) -> tuple[int, Call]:
        """Begin a call on a new stream."""
        self._number += 2
        answer = self.answers.calls[self._number] = Call()
        self.socket.sendall(call(self._number, block, *messages))
        return self._number, answer

    def until(self, done: Callable[[], bool]) -> None:
        """Read until `done`; the server may not hang up before."""
        while not done():
            part = self.socket.recv(65536)
            assert part, "the connection ended"
            self.answers.feed(part)

    def rest(self) -> bytes:
        """Say nothing more, and hear what is still said."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                heard += part
        return bytes(heard)


class Calls(OnAccelerator):
    """Calls that are well framed: any message to any procedure.

    Each is answered on its own stream, an inference twice in the same way; and where the model
    answers with what it is given, that is what comes.
    """

    name = "calls"
    cases = 45_000
    PATHS: ClassVar[tuple[str, ...]] = (
        _INFER,
        _STREAM,
        *(
            SERVICE + name
            for name in (
                "RepositoryModelLoad", "RepositoryModelUnload", "RepositoryIndex", "ModelMetadata",
                "ModelConfig", "ModelStatistics", "SystemSharedMemoryRegister",
                "SystemSharedMemoryStatus", "SystemSharedMemoryUnregister", "TraceSetting",
            )
        ),
        _HEALTH + "Check",
        _HEALTH + "Watch",
    )  # fmt: skip

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__(accelerator)
        self._conversation: Conversation | None = None

    def make_seeds(self) -> Sequence[bytes]:
        name = service_pb2.ModelMetadataRequest(name="float", version="1").SerializeToString()
        register = service_pb2.SystemSharedMemoryRegisterRequest(
            name="r", key="/ei-fuzz-none", byte_size=16
        )
        return (
            *(bytes([kind]) + each for kind in (0, 1) for each in inferences()),
            b"\2" + _load_request(),
            *(bytes([kind]) + name for kind in (5, 6, 7)),
            b"\x08" + register.SerializeToString(),
            *(bytes([kind]) for kind in range(3, len(self.PATHS))),
        )

    def run(self, case: bytes) -> None:
        path = self.PATHS[(case[0] if case else 0) % len(self.PATHS)]
        message = case[1:]
        if self._conversation is None:
            self._conversation = Conversation(self.accelerator)
        talk = self._conversation
        block = header_block(path, self.accelerator.token)
        number, answer = talk.ask(block, *([message, message] if path == _STREAM else [message]))
        if path.endswith("Watch"):
            talk.until(lambda: bool(answer.data) or answer.ended)
            talk.socket.sendall(http2.reset_stream(number, http2.CANCEL))
        else:
            talk.until(lambda: answer.ended)
            assert answer.status is not None
        if path in (_INFER, _STREAM):
            self._check(path, message, answer)
        if path == _INFER:
            _, again = talk.ask(block, message)
            talk.until(lambda: again.ended)
            assert (again.status, again.data) == (answer.status, answer.data)
        self.accelerator.witness()

    def _check(self, path: str, message: bytes, answer: Call) -> None:
        responses = answer.messages()
        if path == _STREAM:
            streamed = [service_pb2.ModelStreamInferResponse.FromString(r) for r in responses]
            assert answer.status != 0 or len(streamed) == 2
            assert len({each.SerializeToString() for each in streamed}) <= 1
            found = [each.infer_response for each in streamed if not each.error_message]
        else:
            assert (answer.status == 0) == (len(responses) == 1)
            found = [service_pb2.ModelInferResponse.FromString(r) for r in responses]
        asked = _parse(service_pb2.ModelInferRequest, message)
        for response in found:
            assert asked is not None
            assert response.id == asked.id
            if asked.model_name in ("float", "text", "flag") and asked.raw_input_contents:
                assert response.raw_output_contents == asked.raw_input_contents, "another tensor"

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        others = tuple(seed[1:] for seed in self.seeds)
        kind = case[:1] if chance.random() < 0.9 else bytes([chance.randrange(len(self.PATHS))])
        if chance.random() < 0.8:
            return kind + mutate_message(chance, case[1:], others)
        return kind + mutate_bytes(chance, case[1:], others)

    def settle(self) -> None:
        self._hang_up()
        super().settle()

    def _hang_up(self) -> None:
        if self._conversation is not None:
            self._conversation.socket.close()
            self._conversation = None

    def close(self) -> None:
        self._hang_up()


class Frames(OnAccelerator):
    """The bytes of an HTTP/2 connection. The first says what is said around the others.

    Whatever they are, what comes back is HTTP/2 without an internal error; a known call before
    them is answered exactly, and one behind them exactly or not at all.
    """

    name = "frames"
    cases = 80_000
    max_length = 8192

    def make_seeds(self) -> Sequence[bytes]:
        token = self.accelerator.token
        infer = header_block(_INFER, token)
        message = inferences()[0]
        settings = http2.settings_frame({http2.SETTINGS_HEADER_TABLE_SIZE: 0})
        usual = bytes([_KNOWN_FIRST | _GREETED | _KNOWN_LAST])
        half = len(infer) // 2
        headers, data = http2.HEADERS, http2.DATA
        encoder = Encoder()
        indexed = [
            encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", _STREAM),
                            ("content-type", "application/grpc"), ("te", "trailers")])
            for _ in range(2)
        ]  # fmt: skip
        cases = (
            call(3, infer, message),
            call(3, indexed[0], message) + call(5, indexed[1], message),
            call(3, infer, message) + call(5, header_block(_STREAM), message, message),
            call(3, header_block(_HEALTH + "Watch"), b"") + http2.reset_stream(3, http2.CANCEL),
            call(3, header_block(_INFER, grpc_timeout="1S", grpc_encoding="gzip"), message),
            http2.frame(headers, 0, 3, infer[:half])
            + http2.frame(http2.CONTINUATION, http2.END_HEADERS, 3, infer[half:])
            + http2.frame(data, http2.PADDED, 3, b"\2" + b"\0\0\0\0\0" + b"\0\0")
            + http2.frame(headers, http2.END_HEADERS | http2.END_STREAM, 3, b""),
            http2.frame(headers, http2.END_HEADERS | http2.PADDED, 3, b"\1" + infer + b"\0")
            + http2.window_update(3, 100)
            + http2.frame(data, 0, 3, b"\0\0\0"),
            settings + http2.frame(http2.SETTINGS, http2.ACK, 0) + http2.window_update(0, 1),
            http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 0})
            + call(3, infer, message)
            + http2.window_update(3, 1),
            http2.frame(http2.PING, 0, 0, b"12345678") + http2.frame(99, 0, 0, b"?"),
            http2.goaway(0, http2.NO_ERROR, "bye"),
            http2.frame(http2.PRIORITY, 0, 3, bytes(5)) + http2.frame(http2.PUSH_PROMISE, 0, 3),
        )
        return (
            *(usual + case for case in cases),
            b"\0" + GREETING + cases[0],
            bytes([_GREETED]) + cases[1],
            b"\0" + http2.PREFACE[:10],
        )

    def run(self, case: bytes) -> None:
        flags, hostile = (case[0] if case else 0), case[1:]
        greets = bool(flags & (_KNOWN_FIRST | _GREETED))
        with Conversation(self.accelerator, greets=greets) as talk:
            if flags & _KNOWN_FIRST:
                block, message, tensors = self._known("first")
                _, first = talk.ask(block, message)
                talk.until(lambda: first.ended)
                assert self._is_known(first, tensors)
            block, message, tensors = self._known("last")
            half = len(hostile) // 2 if flags & _IN_TWO else 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                talk.socket.sendall(hostile[:half])
                talk.socket.sendall(hostile[half:])
                if flags & _KNOWN_LAST:
                    talk.socket.sendall(call(_LAST_STREAM, block, message))
            heard = talk.rest()
            if not greets and not heard.startswith(b"\0"):
                read_answers(heard)
            else:
                talk.answers.feed(heard)
                last = talk.answers.calls.get(_LAST_STREAM)
                if last is not None and last.ended and last.status == 0:
                    assert self._is_known(last, tensors)
        self.accelerator.witness()

    def _known(self, identity: str) -> tuple[bytes, bytes, bytes]:
        """A call that nobody made before, its message, and the tensor of its answer."""
        x, tensors = self.accelerator.known_tensor()
        message = inference(
            self.accelerator.known_model, "FP32", [1, 4], x.tobytes(), identity=identity
        )
        return header_block(_INFER, self.accelerator.token), message, tensors

    def _is_known(self, answer: Call, tensors: bytes) -> bool:
        (raw,) = answer.messages()
        response = service_pb2.ModelInferResponse.FromString(raw)
        return (
            answer.status == 0
            and response.model_name == self.accelerator.known_model
            and list(response.raw_output_contents) == [tensors]
        )

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        flags = case[:1] if chance.random() < 0.8 else bytes([chance.randrange(16)])
        return flags + _mutate_frames(chance, case[1:], self.seeds)


def _mutate_frames(chance: random.Random, raw: bytes, others: tuple[bytes, ...]) -> bytes:
    """`raw`, as frames one of which is changed, doubled, dropped or moved."""
    frames = _frames(raw)
    if not frames or chance.random() < 0.2:
        return mutate_bytes(chance, raw, others)
    at = chance.randrange(len(frames))
    kind, flags, stream, payload = frames[at]
    what = chance.randrange(8)
    if what == 0:
        del frames[at]
    elif what == 1:
        frames.insert(chance.randrange(len(frames) + 1), frames[at])
    elif what == 2:
        frames[at] = chance.randrange(12), flags, stream, payload
    elif what == 3:
        frames[at] = kind, flags ^ (1 << chance.randrange(8)), stream, payload
    elif what == 4:
        number = chance.choice((0, 1, 2, 3, 5, 7, stream + 2, _LAST_STREAM))
        frames[at] = kind, flags, number & _LAST_STREAM, payload
    elif what == 5:
        frames += _frames(chance.choice(others)[1:])
    elif what == 6 and kind == http2.DATA and len(payload) > 5:
        message = mutate_message(chance, payload[5:], ())
        frames[at] = kind, flags, stream, b"\0" + len(message).to_bytes(4, "big") + message
    else:
        frames[at] = kind, flags, stream, mutate_bytes(chance, payload)
    return b"".join(http2.frame(*each) for each in frames)


def _frames(raw: bytes) -> list[tuple[int, int, int, bytes]]:
    """The whole frames that `raw` begins with."""
    found = []
    at = 0
    while at + http2.HEAD_LENGTH <= len(raw):
        high, low, kind, flags, stream = http2.HEAD.unpack_from(raw, at)
        end = at + http2.HEAD_LENGTH + (high << 8 | low)
        if end > len(raw):
            break
        found.append((kind, flags, stream & _LAST_STREAM, raw[at + http2.HEAD_LENGTH : end]))
        at = end
    return found
