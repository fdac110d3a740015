"""Random requests and files against a real accelerator, which must go on as if nothing were.

`make fuzz` runs more rounds with another seed; FUZZ_SEED and FUZZ_ROUNDS repeat a run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.accelerator.graphs import dozen, identity, model, value_info
from tests.accelerator.http_client import Wire, X, infer, infer_body, load, scale_model
from tests.accelerator.test_shared_memory import memfd, offer
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.processes import AcceleratorProcess

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# The accelerator's own word for a defect; an engine that refuses says so otherwise.
DEFECT = b'"error":"Internal error'
BATCH = 25


class Target:
    """The accelerator under fire, and a client that knows the right answer."""

    def __init__(self, process: AcceleratorProcess, seed: int) -> None:
        self.process = process
        self.seed = seed
        self.pid = process.pid
        self.witness = Wire(process)
        assert self.witness.request("GET", "/v2")[0] == 200

    def check(self, number: int) -> None:
        """It is the same process, and right; a connection from before still works."""
        where = f"seed {self.seed}, round {number}"
        assert self.process.process.poll() is None, f"the accelerator died: {where}"
        x = X + number
        answer = infer(self.witness, "witness", x, token=None)
        assert np.array_equal(answer, x * 2), where

    def exchange(self, raw: bytes, *, unix: bool = False) -> bytes:
        """Send `raw` and nothing more; all that comes back until the connection ends."""
        heard = bytearray()
        with Wire(self.process, unix=unix) as wire:
            # It may have heard enough and hung up by then.
            with contextlib.suppress(OSError):
                wire.send(raw)
                wire.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while part := wire.socket.recv(65536):
                    heard += part
        assert not heard or heard.startswith(b"HTTP/1.1 "), heard[:200]
        assert DEFECT not in heard, (raw[:2000], bytes(heard[:2000]))
        return bytes(heard)


@pytest.fixture(scope="module")
def process(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "witness", scale_model(2))
    for name, data in (
        ("float", identity(TensorProto.FLOAT, None)),
        ("text", identity(TensorProto.STRING, None)),
        ("flag", identity(TensorProto.BOOL, None)),
        ("nibble", nibbles()),
        ("list", sequence()),
    ):
        load(accelerator, name, data)
    return accelerator


@pytest.fixture
def target(process: AcceleratorProcess) -> Iterator[Target]:
    made = Target(process, SEED)
    try:
        yield made
        made.check(-1)
    finally:
        made.witness.socket.close()


def rounds(target: Target, kind: str, times: int = 8) -> Iterator[tuple[random.Random, int]]:
    """A source of chance for each round; the accelerator is looked at between batches."""
    for number in range(ROUNDS * times):
        yield random.Random(f"{target.seed} {kind} {number}"), number  # noqa: S311 - to be repeated
        if number % BATCH == BATCH - 1:
            target.check(number)


def nibbles() -> bytes:
    return model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [value_info("x", TensorProto.INT4, None)],
        [value_info("y", TensorProto.FLOAT, None)],
        opsets={"": 21},
    )


def sequence() -> bytes:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def request(token: str, method: str, path: str, body: bytes, *more: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: t",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def corpus(token: str) -> tuple[bytes, ...]:
    """Requests of every kind that are right as they are."""
    body, length = infer_body(X)
    infer_ = request(
        token, "POST", "/v2/models/witness/infer", body,
        f"Inference-Header-Content-Length: {length}",
    )  # fmt: skip
    chunked = (
        f"POST /v2/models/witness/infer HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"
        f"Inference-Header-Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode() + b"%x\r\n%s\r\n0\r\nA: b\r\n\r\n" % (len(body), body)
    documents = (
        ("/v2/repository/index", {"ready": True}),
        ("/v2/repository/models/m/load", {"parameters": {"config": "{}", "file:1/a.onnx": "AA=="}}),
        ("/v2/repository/models/m/unload", {"parameters": {"unload_dependents": False}}),
        ("/v2/elastic-inference/models", {"files": {"a": "0" * 64}, "main": "a", "options": {}}),
        ("/v2/elastic-inference/usage", {"calls": 1, "wall_ns": 1}),
        ("/v2/systemsharedmemory/region/r/register", {"key": "/x", "offset": 0, "byte_size": 16}),
    )
    return (
        infer_,
        infer_ + infer_,
        chunked,
        *(request(token, "POST", path, json.dumps(each).encode()) for path, each in documents),
        request(
            token, "PUT", "/v2/elastic-inference/blobs/" + "ab" * 32, b"abcdef",
            "Content-Range: bytes 0-5/6",
        ),
        *(
            request(token, "GET", path, b"")
            for path in ("/v2", "/metrics", "/v2/models/witness", "/v2/models/witness/stats",
                         "/v2/elastic-inference/accelerator", "/v2/health/ready")
        ),
        request(token, "DELETE", "/v2/elastic-inference/memory/r", b""),
    )  # fmt: skip


def test_requests(target: Target) -> None:
    requests = corpus(target.process.token())
    answered = 0
    for chance, number in rounds(target, "requests"):
        raw = mutate_bytes(chance, chance.choice(requests), requests)
        answered += bool(target.exchange(raw, unix=number % 2 == 0))
    assert answered > ROUNDS // 10, "the fuzzer says things that are understood"


def test_heads_that_are_cut_and_spliced(target: Target) -> None:
    requests = corpus(target.process.token())
    for chance, _ in rounds(target, "splices"):
        one, two = chance.choice(requests), chance.choice(requests)
        at, back = chance.randrange(len(one) + 1), chance.randrange(len(two) + 1)
        target.exchange(one[:at] + two[back:])


DOCUMENTS: tuple[tuple[str, dict[str, Any], bytes], ...] = (
    (
        "float",
        {
            "id": "1",
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [1, 4],
                    "parameters": {"binary_data_size": 16},
                }
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
            "parameters": {"binary_data_output": True},
        },
        X.tobytes(),
    ),
    (
        "float",
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4.5]}]},
        b"",
    ),
    (
        "text",
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "BYTES",
                    "shape": [2],
                    "parameters": {"binary_data_size": 11},
                }
            ]
        },
        b"\1\0\0\0a\2\0\0\0bc",
    ),
    (
        "text",
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": [["a", "b"]]}]},
        b"",
    ),
    (
        "flag",
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "BOOL",
                    "shape": [4],
                    "parameters": {"binary_data_size": 4},
                }
            ]
        },
        b"\0\1\1\0",
    ),
    (
        "nibble",
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "INT4",
                    "shape": [3],
                    "parameters": {"binary_data_size": 2},
                }
            ],
            "parameters": {"binary_data_output": True},
        },
        b"\x21\x03",
    ),
    (
        "list",
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "SEQUENCE",
                    "shape": [2],
                    "elements": [
                        {
                            "datatype": "FP32",
                            "shape": [1],
                            "parameters": {"binary_data_size": 4},
                        },
                        {
                            "datatype": "FP32",
                            "shape": [2],
                            "parameters": {"binary_data_size": 8},
                        },
                    ],
                    "parameters": {"binary_data_size": 12},
                }
            ],
            "parameters": {"binary_data_output": True},
        },
        np.ones(3, np.float32).tobytes(),
    ),
)


@pytest.mark.parametrize("changed", ["document", "bytes"])
def test_inferences(target: Target, changed: str) -> None:
    """On one connection after another, as long as it lasts, over memory that is shared."""
    statuses: set[int] = set()
    wire: Wire | None = None
    with contextlib.ExitStack() as stack:
        descriptor, _ = stack.enter_context(memfd(4096))
        for chance, _ in rounds(target, changed):
            if wire is None:
                wire = stack.enter_context(Wire(target.process, unix=True))
                assert offer(wire, "r", [descriptor])[0] in (200, 409)
            name, document, data = chance.choice(DOCUMENTS)
            if changed == "document":
                raw = json.dumps(mutate_document(chance, document)).encode()
                data = data if chance.random() < 0.8 else chance.randbytes(chance.randrange(40))
            else:
                raw = mutate_bytes(chance, json.dumps(document).encode())
            answer = wire.request(
                "POST",
                f"/v2/models/{name}/infer",
                raw + data,
                headers=(f"Inference-Header-Content-Length: {len(raw)}",),
                token=None,
            )
            statuses.add(answer[0])
            assert DEFECT not in answer[2], (raw, answer)
            if answer[1].get("connection") == "close":
                wire = None
    # Whether the engine is content with what is left is its affair; most is not even sent to it.
    assert 400 in statuses
    if changed == "document":
        assert 200 in statuses


def test_loads(target: Target) -> None:
    """Damaged model files: refused, or loaded, run and unloaded again."""
    graphs = [graph for graph in dozen() if len(graph.model) < 100_000]
    models = tuple(graph.model for graph in graphs)
    refused = 0
    for chance, _ in rounds(target, "loads", 1):
        data = mutate_bytes(chance, chance.choice(models), models)
        parameters = {"file:1/model.onnx": base64.b64encode(data).decode()}
        status, _, answer = target.process.request(
            "POST", "/v2/repository/models/fuzzed/load", {"parameters": parameters}
        )
        assert DEFECT not in answer, answer
        assert status in (200, 400, 500, 507), answer
        if status != 200:
            refused += 1
            continue
        described = json.loads(target.process.request("GET", "/v2/models/fuzzed")[2])
        inputs = [_some(chance, entry) for entry in described["inputs"]]
        status, _, answer = target.process.request(
            "POST", "/v2/models/fuzzed/infer", {"inputs": inputs}
        )
        assert DEFECT not in answer, answer
        target.process.request("POST", "/v2/repository/models/fuzzed/unload", {})
    assert refused > ROUNDS // 10
    folder = Path(target.process.config.store_directory, "models")
    known = [path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{32}", path.name)]
    assert len(known) == 6, "only the models that are loaded have a folder"


def _some(chance: random.Random, entry: dict[str, Any]) -> dict[str, Any]:
    shape = [size if 0 <= size < 64 else chance.randrange(5) for size in entry["shape"]]
    count = int(np.prod(shape))
    values: dict[str, Any] = {"BOOL": True, "BYTES": "text"}
    datatype = entry["datatype"]
    data = [values.get(datatype, 1)] * min(count, 100_000)
    return {"name": entry["name"], "datatype": datatype, "shape": shape, "data": data}


def test_loads_of_named_files(target: Target) -> None:
    document = {
        "parameters": {
            "config": json.dumps(
                {
                    "name": "fuzzed",
                    "backend": "onnxruntime",
                    "default_model_filename": "model.onnx",
                    "input": [{"name": "x"}],
                }
            ),
            "file:1/model.onnx": base64.b64encode(plain()).decode(),
            "file:1/weights.bin": "AAAA",
        }
    }
    for chance, _ in rounds(target, "named", 1):
        raw = json.dumps(mutate_document(chance, document)).encode()
        if chance.random() < 0.3:
            raw = mutate_bytes(chance, raw)
        path = chance.choice(("/v2/repository/models/fuzzed/load", "/v2/elastic-inference/models"))
        answer = target.process.request("POST", path, raw)
        assert DEFECT not in answer[2], (raw, answer)
        assert answer[0] != 500, answer
    target.process.request("POST", "/v2/repository/models/fuzzed/unload", {})


def plain() -> bytes:
    return model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [value_info("x", TensorProto.FLOAT, ["n"])],
        [value_info("y", TensorProto.FLOAT, ["n"])],
    )
